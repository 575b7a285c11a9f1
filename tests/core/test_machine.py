import pytest

from sgcp.core import machine


@pytest.mark.parametrize(
    ("flags", "quick", "exact"),
    [
        ("avx512f amx_bf16 amx_tile avx512_vnni", True, True),
        ("avx512f avx512_bf16", False, False),
        ("avx2 avx_vnni", False, True),
    ],
)
def test_the_processor_is_read_from_linux(monkeypatch, tmp_path, flags, quick, exact):
    text = f"processor\t: 0\nmodel name\t: A Core\nflags\t\t: {flags}\n\nprocessor\t: 1\n"
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    machine.cpu_info.cache_clear()
    try:
        assert machine.multiplies_bf16_quickly() is quick
        assert machine.adds_int8_exactly() is exact
        assert machine.processor_name() == "A Core"
        monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "none")
        machine.cpu_info.cache_clear()
        assert not machine.multiplies_bf16_quickly()
        assert machine.processor_name()
    finally:
        machine.cpu_info.cache_clear()
