"""One grid of spacing, 4 px: what in a page is off it."""

from __future__ import annotations

from playwright.sync_api import Page

# Gaps between what stands below one another, and heights of what is pressed or filled in. Text that
# is laid out in lines has the line's height; drawings have none of it.
_OFF = """() => {
  const off = (px) => Math.abs(px / 4 - Math.round(px / 4)) > 0.05;
  const name = (each) => [each.tagName.toLowerCase(), ...each.classList].join(".");
  const flows = (each) => {
    const { width, height } = each.getBoundingClientRect();
    const { position, display, visibility } = getComputedStyle(each);
    return width > 1 && height > 1 && visibility !== "hidden"
      && !["absolute", "fixed"].includes(position) && !["none", "inline"].includes(display);
  };
  const found = [];
  for (const parent of document.querySelectorAll("main, main *:not(svg, svg *, [data-chart] *, select)")) {
    const inside = [...parent.children].filter(flows);
    for (const [place, each] of inside.entries()) {
      const gap = place && each.getBoundingClientRect().top - inside[place - 1].getBoundingClientRect().bottom;
      if (gap > 0 && gap < 96 && off(gap)) found.push(`${gap} px between ${name(inside[place - 1])} and ${name(each)} of ${name(parent)}`);
    }
    const { height } = parent.getBoundingClientRect();
    if (parent.matches("button, .button, input, textarea, label, .chip, .tag") && flows(parent) && off(height))
      found.push(`${height} px of ${name(parent)} ${parent.name ?? ""}`);
  }
  return [...new Set(found)];
}"""  # noqa: E501 - another language


def off(page: Page) -> list[str]:
    """Return each gap and height in pixels that is no multiple of 4."""
    found: list[str] = page.evaluate(_OFF)
    return found
