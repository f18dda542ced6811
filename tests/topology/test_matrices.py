"""Matrices from files of others: numbers, or an error that names what is wrong, in bounded memory."""

import pickle
import zipfile

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topology.errors import InvalidParameter
from topology.matrices import read_matrices, read_matrix

MATRIX = np.eye(3) / 2 + 1 / 6


def npz_of(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize("sparse", [False, True])
def test_an_npz_is_read(tmp_path, sparse):
    file = tmp_path / "m.npz"
    if sparse:
        scipy.sparse.save_npz(file, scipy.sparse.csr_array(MATRIX))
    else:
        npz_of(file, any_name=MATRIX)
    found = read_matrix(file)
    assert np.array_equal(found.toarray() if sparse else found, MATRIX)


def test_a_bomb_is_not_unfolded(tmp_path, monkeypatch):
    monkeypatch.setattr("topology.arrays._MOST_BYTES", 10**6)
    file = npz_of(tmp_path / "m.npz", bandwidth=np.zeros((500, 500)))
    assert file.stat().st_size < 10_000
    with pytest.raises(InvalidParameter, match=r"unfolds to 2000\d* bytes"):
        read_matrix(file)


class Planted:
    def __reduce__(self):
        return print, ("it ran",)


def test_pickles_are_never_run(tmp_path, capsys):
    objects = np.empty((2, 2), dtype=object)
    objects[:] = Planted()
    for name, save in (("m.npy", np.save), ("m.npz", np.savez)):
        save(tmp_path / name, objects, allow_pickle=True)
        with pytest.raises(InvalidParameter, match="holds no matrix"):
            read_matrix(tmp_path / name)
    (tmp_path / "p.npy").write_bytes(pickle.dumps(Planted()))
    with pytest.raises(InvalidParameter, match="holds no matrix"):
        read_matrix(tmp_path / "p.npy")
    assert "it ran" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".mtx", ".csv"])
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_named(tmp_path, suffix, data):
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".npz":
        npz_of(whole, a=MATRIX)
    elif suffix == ".npy":
        np.save(whole, MATRIX)
    elif suffix == ".csv":
        whole.write_text("to,from,weight\n0,1,1\n1,0,1\n")
    else:
        whole.write_text("%%MatrixMarket matrix coordinate real general\n2 2 2\n1 2 1.0\n2 1 1.0\n")
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / f"damaged{suffix}"
    file.write_bytes(content[: data.draw(st.sampled_from([len(content)] * 3 + [len(content) // 2, 0]))])
    try:
        found = read_matrices(file)
    except InvalidParameter as error:
        assert file.name in str(error)
    except OSError:  # a place before the file's beginning, say
        pass
    else:
        assert all(each.ndim == 2 for each in found)


def test_an_encrypted_archive_is_named(tmp_path):
    file = npz_of(tmp_path / "m.npz", a=MATRIX)
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        start = archive.start_dir
    content[6] |= 1  # of the first entry, and of the directory
    content[start + 8] |= 1
    file.write_bytes(content)
    with pytest.raises(InvalidParameter, match="encrypted"):
        read_matrix(file)
