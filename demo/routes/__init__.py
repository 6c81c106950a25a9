"""What the server answers: pictures, prompts, models, the page, and the reference of it all."""
