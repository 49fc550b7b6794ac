"""The binding of cuBLASLt against its header and, where it is installed, the library itself."""

import ctypes
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from gpunet.fused import cublaslt

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
KNOWN = json.loads((FIXTURES / "cublaslt.json").read_text(encoding="utf8"))


def folders(kind):
    """Return where the wheels nvidia-cublas and nvidia-cublas-cu12 have their files."""
    return [
        folder
        for place in sys.path
        for inner in ("cu13", "cublas")
        if (folder := Path(place) / "nvidia" / inner / kind).is_dir()
    ]


def test_values_are_those_of_the_header():
    v, words = KNOWN["values"], KNOWN["algorithm_words"]
    c = "CUBLAS_COMPUTE_"
    assert cublaslt.TYPES == {
        "float16": v["CUDA_R_16F"], "bfloat16": v["CUDA_R_16BF"],
        "float32": v["CUDA_R_32F"], "float64": v["CUDA_R_64F"],
    }  # fmt: skip
    assert cublaslt.COMPUTE == {
        "float32": v[c + "32F"], "tf32": v[c + "32F_FAST_TF32"], "float64": v[c + "64F"],
    }  # fmt: skip
    assert cublaslt.EPILOGUE == {
        "none": v["CUBLASLT_EPILOGUE_DEFAULT"], "relu": v["CUBLASLT_EPILOGUE_RELU"],
        "bias": v["CUBLASLT_EPILOGUE_BIAS"], "relu_bias": v["CUBLASLT_EPILOGUE_RELU_BIAS"],
        "sums_of_a": v["CUBLASLT_EPILOGUE_BGRADA"],
    }  # fmt: skip
    assert v["CUBLAS_STATUS_NOT_SUPPORTED"] == cublaslt._NOT_SUPPORTED
    for name, (number, _) in {
        "MATMUL_DESC_TRANSA": cublaslt._DESC_TRANSA,
        "MATMUL_DESC_TRANSB": cublaslt._DESC_TRANSB,
        "MATMUL_DESC_EPILOGUE": cublaslt._DESC_EPILOGUE,
        "MATMUL_DESC_BIAS_POINTER": cublaslt._DESC_BIAS_POINTER,
        "MATRIX_LAYOUT_BATCH_COUNT": cublaslt._LAYOUT_BATCH_COUNT,
        "MATRIX_LAYOUT_STRIDED_BATCH_OFFSET": cublaslt._LAYOUT_BATCH_STRIDE,
        "MATMUL_PREF_MAX_WORKSPACE_BYTES": cublaslt._PREF_WORKSPACE,
        **{f"MATMUL_PREF_MIN_ALIGNMENT_{letter.upper()}_BYTES": attribute
           for letter, attribute in cublaslt._PREF_ALIGNMENT.items()},
    }.items():  # fmt: skip
        assert number == v[f"CUBLASLT_{name}"], name
    assert ctypes.sizeof(cublaslt._Algorithm) == 8 * words
    assert ctypes.sizeof(cublaslt._Heuristic) == 8 * words + 8 + 4 + 4 + 4 * 4


def test_stored_values_are_those_of_an_installed_header():
    headers = [f for f in folders("include") if (f / "cublasLt.h").is_file()]
    if not headers:
        pytest.skip("cublasLt.h isn't here: no wheel nvidia-cublas")
    path = FIXTURES / "makers" / "cublaslt_facts.py"
    spec = importlib.util.spec_from_file_location("cublaslt_facts", path)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    values, words = maker.facts(headers)
    assert values.items() <= KNOWN["values"].items() and len(values) > 15
    assert words == KNOWN["algorithm_words"]


def test_installed_library_takes_the_attributes():
    """Descriptors need no GPU: each attribute is written with the size that the library expects."""
    found = [p for f in folders("lib") for p in sorted(f.glob("libcublasLt.so*"))]
    if not found:
        pytest.skip("libcublasLt isn't here: no wheel nvidia-cublas")
    lt = cublaslt.declared(ctypes.CDLL(str(found[0])))
    assert lt.cublasLtGetStatusString(cublaslt._NOT_SUPPORTED)
    made = ctypes.c_void_p()
    for create, args, write, attributes in (
        (lt.cublasLtMatmulDescCreate, (cublaslt.COMPUTE["tf32"], cublaslt.TYPES["float32"]),
         lt.cublasLtMatmulDescSetAttribute,
         [cublaslt._DESC_TRANSA, cublaslt._DESC_TRANSB, cublaslt._DESC_EPILOGUE,
          cublaslt._DESC_BIAS_POINTER]),
        (lt.cublasLtMatrixLayoutCreate, (cublaslt.TYPES["float16"], 5, 6, 7),
         lt.cublasLtMatrixLayoutSetAttribute,
         [cublaslt._LAYOUT_BATCH_COUNT, cublaslt._LAYOUT_BATCH_STRIDE]),
        (lt.cublasLtMatmulPreferenceCreate, (), lt.cublasLtMatmulPreferenceSetAttribute,
         [cublaslt._PREF_WORKSPACE, *cublaslt._PREF_ALIGNMENT.values()]),
    ):  # fmt: skip
        assert create(made, *args) == 0
        for number, type_ in attributes:
            value = type_(1)
            given = made, number, ctypes.addressof(value)
            assert write(*given, ctypes.sizeof(value)) == 0, number
            assert write(*given, ctypes.sizeof(value) + 1) != 0, number
