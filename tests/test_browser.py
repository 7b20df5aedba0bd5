"""Every notebook that has an exhibit, opened in JupyterLab in a headless Chromium, as a reader would."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
WITH_EXHIBIT = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if "explore." in path.read_text()]

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
each_exhibit = pytest.mark.parametrize("notebook", WITH_EXHIBIT, ids=lambda path: path.stem)

READY = """async () => {
    while (!window.jupyterapp) await new Promise(r => setTimeout(r, 200));  // on a busy machine it comes late
    const app = window.jupyterapp;
    await app.restored;
    while (!app.shell.currentWidget || !app.shell.currentWidget.context) await new Promise(r => setTimeout(r, 200));
    const panel = app.shell.currentWidget;
    await panel.context.ready;
    await panel.context.sessionContext.ready;
}"""
RUN_ALL = """async () => {
    await window.jupyterapp.commands.execute("notebook:run-all-cells");
    const cells = Array.from(window.jupyterapp.shell.currentWidget.content.model.cells);
    return cells.filter(cell => cell.type === "code" && cell.executionCount === null).length;
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab that serves copies of the notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # Otherwise cells outside the window are not in the page, and cannot be tested.
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
        *(f"--ServerApp.port={port}", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder / 'notebooks'}"),
    ]
    environment = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),  # nothing in there is trusted, as after a fresh clone
        "GANTOOLS_PROFILE": "smoke",
    }
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server,
    ):
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        else:
            server.kill()
            pytest.fail((folder / "log").read_text())
        yield f"http://127.0.0.1:{port}/lab/tree"
        server.terminate()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(120_000)
    yield page
    page.close()


def assert_every_picture_is_shown(page):
    shown = (
        "() => [...document.querySelectorAll('.jp-OutputArea-output img')].map(i => i.complete && i.naturalWidth > 0)"
    )
    page.wait_for_function(f"() => ({shown})().every(Boolean)")  # one that the slider exchanges is on its way
    assert len(page.evaluate(shown)) >= 10


@each_exhibit
def test_the_slider_moves_the_picture(lab, page, notebook):
    page.goto(f"{lab}/{notebook.name}?reset")
    page.evaluate(READY)
    assert page.evaluate(RUN_ALL) == 0, "some cells did not run"

    slider = page.locator(".widget-slider [role=slider], .jupyter-widgets [role=slider]").first
    slider.wait_for(state="attached")
    slider.scroll_into_view_if_needed()
    picture = page.locator(".jupyter-widgets img, img.widget-image").first
    before = picture.get_attribute("src")
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("([image, source]) => image.src !== source", arg=[picture.element_handle(), before])

    frame, place = page.locator("img.frame").first, page.locator(".jp-Notebook input[type=range]").first
    before = frame.get_attribute("src")
    place.fill("10")  # the preview's own slider, which needs no kernel
    assert frame.get_attribute("src") != before

    assert_every_picture_is_shown(page)
    text = page.locator(".jp-Notebook").inner_text()
    for sign in ("Error displaying widget", "Failed to load model class", "Traceback", "Loading widget..."):
        assert sign not in text, sign


@each_exhibit
def test_reopened_without_a_kernel_it_still_shows_the_exhibit(lab, page, notebook):
    page.goto(f"{lab}/{notebook.name}?reset")
    page.evaluate(READY)  # nothing is run: these are the outputs in the repository

    sheet = page.locator(".jp-Notebook figure.gantools-preview img").first
    sheet.wait_for(state="attached")
    sheet.scroll_into_view_if_needed()
    assert page.evaluate("image => image.complete && image.naturalWidth > 500", sheet.element_handle())
    assert_every_picture_is_shown(page)
    assert "Error displaying widget" not in page.locator(".jp-Notebook").inner_text()
