"""Flags, environment and defaults become one frozen object, or a clear refusal."""

import dataclasses

import pytest

from demo.settings import Settings, parse_settings


def test_defaults_listen_on_this_machine_only():
    settings = parse_settings(["--no-offer-downloads"], {})  # the default depends on the machine
    assert settings == Settings()
    assert settings.host == "127.0.0.1"
    assert settings.checkpoint == "tiny"


@pytest.mark.parametrize(
    ("arguments", "environment", "offers"),
    [
        ([], {"DISPLAY": ":0"}, True),
        ([], {"WAYLAND_DISPLAY": "wayland-0"}, True),
        (["--no-open"], {"DISPLAY": ":0"}, False),
        (["--host", "0.0.0.0"], {"DISPLAY": ":0"}, False),
        (["--trusted-proxies", "127.0.0.1"], {"DISPLAY": ":0"}, False),
        (["--no-offer-downloads"], {"DISPLAY": ":0"}, False),
        (["--host", "0.0.0.0", "--offer-downloads"], {}, True),
        ([], {"SAM_DEMO_OFFER_DOWNLOADS": "yes"}, True),
    ],
)
def test_visitors_may_agree_to_downloads_where_they_started_the_server_or_its_operator_says_so(
    arguments, environment, offers
):
    assert parse_settings(arguments, environment).offer_downloads is offers


def test_further_models_are_a_list_with_commas():
    assert parse_settings(["--models", "vit_b, my.pth,"], {}).sources == ("tiny", "vit_b", "my.pth")
    assert parse_settings([], {"SAM_DEMO_MODELS": "medsam"}).sources == ("tiny", "medsam")


def test_a_flag_wins_over_the_environment_and_that_over_the_default():
    environment = {"SAM_DEMO_PORT": "9001", "SAM_DEMO_CACHE_MB": "64", "SAM_DEMO_OPEN": "no"}
    settings = parse_settings(["--port", "9002"], environment)
    assert (settings.port, settings.cache_mb, settings.open) == (9002, 64, False)


@pytest.mark.parametrize(("flag", "opens"), [("--open", True), ("--no-open", False)])
def test_open_has_both_forms(flag, opens):
    assert parse_settings([flag], {"SAM_DEMO_OPEN": str(not opens)}).open is opens


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["--port", "70000"], {}, "70000.*65535"),
        (["--cache-mb", "1"], {}, "cache-mb is 1.*16"),
        (["--models-mb", "1"], {}, "models-mb is 1.*100"),
        (["--max-wait-s", "0"], {}, "max-wait-s is 0.*1 to 3600"),
        (["--drain-s", "2"], {}, "drain-s is 2.*5 to 3600"),
        (["--device", "tpu"], {}, "'tpu'.*cuda"),
        (["--max-megapixels", "900"], {}, "900.*178"),
        (["--checkpoint", ""], {}, "checkpoint"),
        (["--root-path", "some/prefix"], {}, "'some/prefix'.*/some/prefix"),
        (["--root-path", "/some/prefix/"], {}, "without a slash at the end"),
        (["--frame-ancestors", "https://a.example; script-src *"], {}, "'https://a.example;'.*https://example.org"),
        (["--frame-ancestors", "'self'"], {}, "origins look like"),
        ([], {"SAM_DEMO_PORT": "http"}, "SAM_DEMO_PORT is 'http'"),
        ([], {"SAM_DEMO_OPEN": "maybe"}, "SAM_DEMO_OPEN is 'maybe'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(arguments, environment, named):
    with pytest.raises(ValueError, match=named):
        parse_settings(arguments, environment)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit):
        parse_settings(["--help"], {})
    text = capsys.readouterr().out
    for flag in (
        "--host",
        "--port",
        "--checkpoint",
        "--device",
        "--cache-mb",
        "--models",
        "--max-wait-s",
        "--drain-s",
        "--offer-downloads",
        "--root-path",
        "--frame-ancestors",
        "--isolation-headers",
        "--open",
        "--no-open",
        "SAM_DEMO_",
    ):
        assert flag in text


def test_a_space_may_frame_the_page_and_adds_the_isolation_headers_itself():
    settings = parse_settings([], {"SPACE_ID": "somebody/space"})
    assert (settings.frame_ancestors, settings.isolation_headers) == ("https://huggingface.co", False)
    own = ["--frame-ancestors", "", "--isolation-headers", "--trusted-proxies", "", "--allowed-hosts", ""]
    assert parse_settings(own, {"SPACE_ID": "somebody/space"}) == Settings()
