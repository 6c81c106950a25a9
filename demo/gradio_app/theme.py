"""The page's calm looks in Gradio's terms: the same colours as static/styles.css, light and dark, and system fonts."""

from __future__ import annotations

import gradio as gr

_FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
_COLOURS = {
    "body_background_fill": ("#f6f6f4", "#131316"),
    "background_fill_primary": ("#ffffff", "#1e1e23"),
    "background_fill_secondary": ("#ecece8", "#0d0d0f"),
    "block_background_fill": ("#ffffff", "#1e1e23"),
    "block_label_background_fill": ("#ffffff", "#1e1e23"),
    "block_label_text_color": ("#57575f", "#a2a2ad"),
    "block_title_text_color": ("#1b1b1f", "#f0f0f2"),
    "block_info_text_color": ("#57575f", "#a2a2ad"),
    "body_text_color": ("#1b1b1f", "#f0f0f2"),
    "body_text_color_subdued": ("#57575f", "#a2a2ad"),
    "border_color_primary": ("#dededa", "#303038"),
    "block_border_color": ("#dededa", "#303038"),
    "input_background_fill": ("#f6f6f4", "#131316"),
    "input_border_color": ("#c9c9c4", "#45454f"),
    "input_border_color_focus": ("#3f5ff0", "#7c93ff"),
    "color_accent_soft": ("#e7ebff", "#262c4d"),
    "border_color_accent": ("#3f5ff0", "#7c93ff"),
    "button_primary_background_fill": ("#3f5ff0", "#7c93ff"),
    "button_primary_background_fill_hover": ("#354fd0", "#93a6ff"),
    "button_primary_text_color": ("#ffffff", "#0d1230"),
    "button_secondary_background_fill": ("#ecece8", "#2a2a31"),
    "button_secondary_background_fill_hover": ("#e0e0db", "#35353e"),
    "button_secondary_text_color": ("#1b1b1f", "#f0f0f2"),
    "checkbox_background_color": ("#ffffff", "#131316"),
    "checkbox_background_color_selected": ("#3f5ff0", "#7c93ff"),
    "checkbox_border_color_selected": ("#3f5ff0", "#7c93ff"),
    "checkbox_label_background_fill": ("#f6f6f4", "#131316"),
    "checkbox_label_background_fill_hover": ("#ecece8", "#26262c"),
    "checkbox_label_background_fill_selected": ("#e7ebff", "#262c4d"),
    "checkbox_label_text_color_selected": ("#1b1b1f", "#f0f0f2"),
    "link_text_color": ("#2f4bd0", "#a9b8ff"),
    "loader_color": ("#3f5ff0", "#7c93ff"),
}
"""Light and dark."""

CSS = """
.gradio-container { max-width: none !important; }
.gradio-container > main, .gradio-container .app { max-width: 1560px !important; padding: 14px 20px 32px !important; }
footer { display: none !important; }
.gradio-container :focus-visible { outline: 2px solid var(--color-accent) !important; outline-offset: 2px; }
.panel button { font-weight: 550; }

.head { align-items: center; }
.brand { display: flex; align-items: baseline; flex-wrap: wrap; gap: 4px 16px; padding: 0 2px; }
.brand h1 { margin: 0; font-size: 1.25rem; font-weight: 620; letter-spacing: -0.01em; }
.brand p { margin: 0; color: var(--body-text-color-subdued); }
.brand a { margin-left: auto; color: var(--link-text-color); }

.examples .grid-wrap { min-height: 0; max-height: none; height: auto; padding-top: 34px; }
.examples .thumbnail-item { aspect-ratio: 4 / 3; border-radius: 10px; }
.examples .caption-label { left: 0; right: 0; max-width: none; border-radius: 0; }
.examples .caption-label { font-size: 0.8rem; text-align: center; }

.work { gap: 20px; align-items: flex-start; }
.stage { position: sticky; top: 12px; gap: 8px; }
.stage img { max-width: 100%; max-height: calc(100dvh - 150px); margin: 0 auto; object-fit: scale-down; }
.stage img { cursor: crosshair; }
.status { min-height: 1.6em; padding: 0 4px !important; }
.found { padding: 0 !important; }
.status, .status *, .found, .found * { color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
.status progress, .found progress { width: 100%; height: 6px; accent-color: var(--color-accent); }
.things .wrap { max-height: 240px; overflow-y: auto; }
.panel { gap: 12px; }
.pairs div:has(> label > input) { display: grid; grid-template-columns: 1fr 1fr; gap: 6px; }
.pairs label { padding: 6px 10px; }
.labelled { align-items: flex-end; }

@media (max-width: 760px) {
  .gradio-container > main, .gradio-container .app { padding: 10px 10px 32px !important; }
  .stage { position: static; }
  .stage img { max-height: 60dvh; }
  .brand p { display: none; }
}
"""


def theme() -> gr.themes.Base:
    """The theme: no font and no style is fetched from anywhere."""
    light = {name: colour for name, (colour, _) in _COLOURS.items()}
    dark = {f"{name}_dark": colour for name, (_, colour) in _COLOURS.items()}
    base = gr.themes.Base(**_FONTS, radius_size=gr.themes.sizes.radius_lg, text_size=gr.themes.sizes.text_md)
    extra = {"color_accent": "#3f5ff0", "block_border_width": "1px", "block_shadow": "none"}
    return base.set(**light, **dark, **extra, button_large_padding="8px 14px")
