"""Nothing leaves the machine: every browser test watches, these make sure that the watch is awake."""

import pytest
from browser_page import PATIENCE_MS, Guard
from playwright.sync_api import Error

pytestmark = pytest.mark.browser


def test_watch_notices_whoever_wants_to_leave(chromium, tripwire, server):
    guard = Guard(host="127.0.0.1:1")
    context = chromium.new_context(proxy={"server": tripwire.address, "bypass": "127.0.0.1"})
    try:
        context.set_default_timeout(PATIENCE_MS)
        guard.watch(context)
        page = context.new_page()
        with pytest.raises(Error):
            page.goto("http://elsewhere.test/picture.jpg")
        assert any("elsewhere.test" in call for call in tripwire.calls)
        assert any("elsewhere.test" in fault for fault in guard.unexpected)
        page = context.new_page()  # the first still settles on its error page
        page.goto(server.address)
        with context.expect_console_message(lambda message: "Content Security Policy" in message.text):
            page.evaluate("() => fetch('http://elsewhere.test/').catch(() => {})")
        assert any("Content Security Policy" in fault for fault in guard.unexpected)
    finally:
        context.close()


def test_nothing_left_the_machine_since_the_server_started(tripwire, server, sam_page, photographs):
    """The server too is held by the tripwire: its libraries' reports would show up here."""
    sam_page.open()
    sam_page.open_gallery(photographs["chelsea"])
    sam_page.hover(130, 130)
    own = ("elsewhere.test", "content-autofill.googleapis.com")  # of the test above; of Chromium, on Gradio's page
    assert [call for call in tripwire.calls if not any(name in call for name in own)] == []
