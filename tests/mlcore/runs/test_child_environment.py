"""What a process that computes knows of ours."""

from mlcore.runs.child import child_environment


def test_keys_and_addresses_stay_here(monkeypatch):
    for name in ("SECRET_KEY", "DATABASE_URL", "BROKER_URL", "STORAGE_URL"):
        monkeypatch.setenv(name, "not for you")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    told = child_environment()
    assert "not for you" not in told.values()
    assert told["CUDA_VISIBLE_DEVICES"] == "1"


def test_threads_sleep_and_memory_is_kept_unless_told_otherwise(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    told = child_environment()
    assert (told["OMP_WAIT_POLICY"], told["MALLOC_MMAP_MAX_"]) == ("passive", "0")
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "65536")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    told = child_environment()
    assert (told["OMP_WAIT_POLICY"], told["MALLOC_MMAP_MAX_"]) == ("active", "65536")
