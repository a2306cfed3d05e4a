"""Opens a page in a headless Chromium, if there is one, and says what a reader sees there."""

import html
import json
import os
import re
import shutil
import subprocess

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
LOOK = """<script>
addEventListener("load", () => {
  const box = (element) => { const r = element.getBoundingClientRect(); return r.width > 0 && r.height > 0; };
  const verdict = document.getElementById("verdict");
  document.body.setAttribute("data-seen", JSON.stringify({
    verdict: verdict.innerText, shown: box(verdict), height: document.body.scrollHeight,
    pictures: [...document.images].map((i) => [i.alt, i.naturalWidth, i.naturalHeight, box(i)]),
    charts: [...document.querySelectorAll("svg.chart")].filter(box).length,
    bars: [...document.querySelectorAll(".tracks i")].filter(box).length,
    outside: performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !/^data:/.test(n)),
    overflows: document.documentElement.scrollWidth > innerWidth,
  }));
});
</script>"""


def find_browser():
    """The browser's path; the test is skipped, with the reason, where there is none."""
    named = os.environ.get("CHROMIUM")
    path = named or next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no Chromium on this machine ({', '.join(NAMES)}): install one, or set CHROMIUM=path")
    return path


def look_at(page, folder, browser, width=1280):
    """What there is to see on a page: its verdict, pictures, charts, and what it loads from elsewhere."""
    copy = folder / "page.html"
    copy.write_text(page.read_text(encoding="utf-8") + LOOK, encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", "--dump-dom"]
    answer = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True)
    seen = re.search(r'data-seen="([^"]*)"', answer.stdout)
    assert seen, f"{browser} exited with {answer.returncode}: {answer.stderr[-2000:]}"
    return json.loads(html.unescape(seen[1]))
