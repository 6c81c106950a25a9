"""What stands before the routes: who asks, under which name, how often, how much, and whose pictures they are."""
