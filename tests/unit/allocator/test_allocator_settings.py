"""The text of ``PYTORCH_ALLOC_CONF``: what it means, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from oom_suite.allocator import AllocatorSettings, parse_settings
from oom_suite.errors import UsageError
from oom_suite.units import MIB

# The table of PyTorch's own test of the parser, among others.
ROUNDUP_LISTS = {
    "[64:8,128:2,256:4,512:2,1024:4,>:1]": (8,) * 7 + (2, 4, 2, 4) + (1,) * 5,
    "[128:8,256:16,512:1,2048:8,>:2]": (8,) * 8 + (16, 1, 0, 8) + (2,) * 4,
    "[256:1,512:2,1024:4,>:8]": (1,) * 9 + (2, 4) + (8,) * 5,
    "[131072:2]": (2,) * 16,
    "[1:2]": (2,) + (0,) * 15,
    "[]": (0,) * 16,
    "4": (4,) * 16,
}
REFUSED = {
    "max_split_size_mb": "not allocator settings: 'max_split_size_mb'",
    "max_split_size_mb:": "not allocator settings",
    "max_split_size_mb:19": "max_split_size_mb is 19: give 20 or more",
    "max_split_size_mb:6x": "max_split_size_mb is '6x': give a whole number",
    "max_split_size_mb:20,large_segment_size_mb:25": "max_split_size_mb is 20: give 25 or more",
    "max_non_split_rounding_mb:19": "max_non_split_rounding_mb is 19: give 20 or more",
    "large_segment_size_mb:10": "large_segment_size_mb is 10: give more than 10",
    "garbage_collection_threshold:1.0": "is '1.0': give a number above 0 and below 1",
    "garbage_collection_threshold:0": "is '0': give a number above 0 and below 1",
    "garbage_collection_threshold:much": "is 'much': give a number above 0 and below 1",
    "expandable_segments:true": "expandable_segments is 'true': write True or False",
    "roundup_power2_divisions:3": "roundup_power2_divisions has 3: give a power of two",
    "roundup_power2_divisions:0": "roundup_power2_divisions has 0: give a power of two",
    "roundup_power2_divisions:[64:8": "not allocator settings",
    "roundup_power2_divisions:[65:8]": "roundup_power2_divisions has 65: give a power of two",
    "roundup_power2_divisions:[64:3]": "roundup_power2_divisions has 3: give a power of two",
    "roundup_power2_divisions:[64]": "has '64': write size:divisions, for example 256:2",
}
NOT_MODELLED = {
    "backend:cudaMallocAsync": "backend:cudaMallocAsync is not modelled",
    "per_process_memory_fraction:0.5": "give the limit in bytes instead",
    "throw_on_cudamalloc_oom:True": "only throw_on_cudamalloc_oom:False",
    "expandable_segment:True": "did you mean 'expandable_segments'?",
}


def test_the_empty_text_is_pytorchs_defaults():
    """Nothing set is nothing changed."""
    assert AllocatorSettings() == parse_settings("")


def test_every_setting_is_read():
    """Sizes in MiB, spaces ignored, a comma at the end allowed, each option in its field."""
    text = (
        "max_split_size_mb: 64, max_non_split_rounding_mb:40,large_segment_size_mb:32,"
        "garbage_collection_threshold:0.75,expandable_segments:True,"
        "roundup_power2_divisions:[1:2,>:8],"
    )
    assert AllocatorSettings(
        max_split_size_bytes=64 * MIB,
        max_non_split_rounding_bytes=40 * MIB,
        large_segment_bytes=32 * MIB,
        garbage_collection_threshold=0.75,
        expandable_segments=True,
        roundup_power2_divisions=(2,) + (8,) * 15,
    ) == parse_settings(text)


@pytest.mark.parametrize("text", ROUNDUP_LISTS)
def test_a_list_of_divisions_fills_the_size_classes(text):
    """Below the first class as the first; left out between: none; `>` is what is above."""
    settings = parse_settings(f"roundup_power2_divisions:{text}")
    assert ROUNDUP_LISTS[text] == settings.roundup_power2_divisions


@pytest.mark.parametrize(
    "text",
    ["backend:native", "pinned_use_background_threads:True", "per_process_memory_fraction:1.0"],
)
def test_settings_without_effect_on_blocks_are_accepted(text):
    """Host memory and locks are not what is modelled."""
    assert AllocatorSettings() == parse_settings(text)


@pytest.mark.parametrize("text", [*REFUSED, *NOT_MODELLED])
def test_what_is_wrong_is_said_in_one_line(text):
    """The value seen and what is allowed; never a silent default."""
    with pytest.raises(UsageError) as refused:
        parse_settings(text)
    assert {**REFUSED, **NOT_MODELLED}[text] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_torchs_own_parser_refuses_the_same_texts():
    """Each text is given to the parser of the torch that is installed, in its own process."""
    accepted = [f"roundup_power2_divisions:{text}" for text in ROUNDUP_LISTS]
    code = (
        "import json, sys, torch\n"
        "parse = getattr(torch._C, '_accelerator_setAllocatorSettings', None)\n"
        "def takes(text):\n"
        "    try: parse(text)\n"
        "    except Exception: return False\n"
        "    return True\n"
        "print(json.dumps(parse and [takes(text) for text in json.loads(sys.argv[1])]))\n"
    )
    # A setting that no valid value has, to see whether this torch knows it.
    probe = "large_segment_size_mb:1"
    texts = [*REFUSED, *accepted, probe]
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(texts)], capture_output=True, text=True, check=True
    )
    answers = json.loads(done.stdout)
    if answers is None:
        pytest.skip("this torch has no parser of allocator settings without a GPU")
    takes = dict(zip(texts, answers, strict=True))
    # stoull reads the digits at the start of a word; a whole number is asked for here.
    left_out = {"max_split_size_mb:6x", probe}
    if takes[probe]:
        left_out |= {text for text in texts if "large_segment_size_mb" in text}
    judged = [text for text in texts if text not in left_out]
    assert {text: text in accepted for text in judged} == {text: takes[text] for text in judged}
