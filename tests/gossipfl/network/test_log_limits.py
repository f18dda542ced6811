"""Log lines that strangers cause: cut, escaped, and limited in rate."""

import logging

from gossipfl.network import limited_logger


def test_lines_are_cut_and_escaped(caplog):
    log = limited_logger("tests.cut")
    log.warning("they said %s to %d of us", "\x1b[2J\n" + "a" * 3_000_000, 7)
    [line] = caplog.messages
    assert len(line) < 400
    assert line.isprintable()
    assert line.startswith("they said \\x1b[2J\\n")
    assert line.endswith("(3000005 characters) to 7 of us")


def test_lines_of_one_kind_are_limited_and_the_rest_are_counted(caplog, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("gossipfl.network.log_limits.time.monotonic", lambda: now[0])
    log = limited_logger("tests.rate")
    for number in range(100):
        log.warning("an offence of %d", number)
    log.warning("something else")
    assert len(caplog.messages) == 11
    now[0] += 6
    log.warning("an offence of %d", 101)
    assert caplog.messages[-1] == "an offence of 101 (90 more lines like this were suppressed)"


def test_kinds_without_end_take_no_memory(caplog):
    log = limited_logger("tests.kinds")
    caplog.set_level(logging.CRITICAL + 1)
    log.setLevel(logging.WARNING)
    for number in range(2_000):
        log.warning(f"made of what they said: {number}")
    [limits] = log.filters
    assert len(limits._kinds) <= 256
    assert limited_logger("tests.kinds").filters == [limits]
