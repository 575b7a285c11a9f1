from sgcp.core import machine


def test_the_processor_is_read_from_linux(monkeypatch, tmp_path):
    text = "processor\t: 0\nmodel name\t: A Core\nflags\t\t: avx2\n\nprocessor\t: 1\n"
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    machine.cpu_info.cache_clear()
    try:
        assert (machine.processor_name(), machine.processor_kind()) == ("A Core", "A Core avx2")
        monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "none")
        machine.cpu_info.cache_clear()
        assert machine.processor_name()
    finally:
        machine.cpu_info.cache_clear()
