// The part of cuBLASLt that gpunet calls, on the CPU, by its documentation: column-major matrices,
// leading dimensions, transposes, strided batches, epilogues. What the documentation forbids is
// refused by the status it names, and what it leaves open is made to show: products need the
// workspace that the heuristic asked for, and addresses the alignment that it was told.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

enum Status { OK = 0, NOT_INITIALIZED = 1, INVALID = 7, NOT_SUPPORTED = 15 };
enum Type { F32 = 0, F64 = 1, F16 = 2, BF16 = 14 };
enum Compute { COMPUTE_32F = 68, COMPUTE_64F = 70, COMPUTE_TF32 = 77 };
enum Epilogue { DEFAULT = 1, RELU = 2, BIAS = 4, BGRADA = 256 };

constexpr uint64_t HANDLE = 0x4c74, DESC = 0xde5c, LAYOUT = 0x1a70, PREFERENCE = 0x94ef;

struct Desc {
    uint64_t magic = DESC;
    int compute, scale;
    int32_t transposed[2] = {0, 0};
    uint32_t epilogue = DEFAULT;
    void* vector = nullptr;
};

struct Layout {
    uint64_t magic = LAYOUT;
    int type;
    uint64_t rows, columns;
    int64_t leading;
    int32_t batch = 1;
    int64_t stride = 0;
};

struct Preference {
    uint64_t magic = PREFERENCE;
    uint64_t workspace = 0;
    uint32_t alignment[4] = {256, 256, 256, 256};
};

struct Algorithm {
    uint64_t magic, workspace, alignment[4], vector, epilogue;
};
static_assert(sizeof(Algorithm) == 64, "as cublasLtMatmulAlgo_t");

struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

uint64_t handle = HANDLE;
uint32_t missing = 0;    // epilogues that no algorithm has
int64_t counts[3] = {};  // handles, heuristics, products
int64_t alive = 0;       // descriptors, layouts and preferences

float float_of_bits(uint32_t bits) {
    float f;
    std::memcpy(&f, &bits, 4);
    return f;
}

uint32_t bits_of(float f) {
    uint32_t bits;
    std::memcpy(&bits, &f, 4);
    return bits;
}

// Rounds to a float with fewer bits of mantissa, to even.
float rounded(float f, int dropped) {
    if (!std::isfinite(f)) return f;
    uint32_t bits = bits_of(f), half = (1u << (dropped - 1)) - 1;
    bits += half + ((bits >> dropped) & 1);
    return float_of_bits(bits & ~((1u << dropped) - 1));
}

float from_half(uint16_t h) {
    int exponent = (h >> 10) & 31, mantissa = h & 1023;
    float value = exponent == 31 ? (mantissa ? NAN : INFINITY)
                  : exponent     ? std::ldexp(float(mantissa + 1024), exponent - 25)
                                 : std::ldexp(float(mantissa), -24);
    return h & 0x8000 ? -value : value;
}

uint16_t to_half(float f) {
    uint16_t sign = bits_of(f) >> 31 << 15;
    if (std::isnan(f)) return sign | 0x7e00;
    f = std::fabs(f);
    if (f == 0) return sign;
    int exponent;
    std::frexp(f, &exponent);
    exponent = std::max(exponent, -13);                            // below, numbers are evenly spaced
    float steps = std::nearbyint(std::ldexp(f, 11 - exponent));    // of 2^(exponent - 11)
    f = std::ldexp(steps, exponent - 11);
    if (f >= 65520.0f) return sign | 0x7c00;
    std::frexp(f, &exponent);
    if (exponent < -13) return sign | uint16_t(std::ldexp(f, 24));
    return sign | uint16_t((exponent + 14) << 10 | (int(std::ldexp(f, 11 - exponent)) - 1024));
}

double load(const void* base, int type, int64_t i) {
    switch (type) {
        case F64: return static_cast<const double*>(base)[i];
        case F32: return static_cast<const float*>(base)[i];
        case F16: return from_half(static_cast<const uint16_t*>(base)[i]);
        default: return float_of_bits(uint32_t(static_cast<const uint16_t*>(base)[i]) << 16);
    }
}

void store(void* base, int type, int64_t i, double value) {
    switch (type) {
        case F64: static_cast<double*>(base)[i] = value; break;
        case F32: static_cast<float*>(base)[i] = float(value); break;
        case F16: static_cast<uint16_t*>(base)[i] = to_half(float(value)); break;
        default:
            static_cast<uint16_t*>(base)[i] = bits_of(rounded(float(value), 16)) >> 16;
    }
}

bool known_type(int type) { return type == F32 || type == F64 || type == F16 || type == BF16; }

uint64_t alignment_of(const void* p) {
    uint64_t address = reinterpret_cast<uint64_t>(p);
    return address ? std::min<uint64_t>(address & -address, 256) : 256;
}

template <class T>
int set(T& member, const void* buffer, size_t size) {
    if (!buffer || size != sizeof(T)) return INVALID;
    std::memcpy(&member, buffer, size);
    return OK;
}

// Whether descriptor and layouts describe a product; D and C are one here.
int check(const Desc* desc, const Layout* a, const Layout* b, const Layout* d) {
    for (auto* layout : {a, b, d}) {
        if (!layout || layout->magic != LAYOUT) return INVALID;
        if (layout->leading < int64_t(layout->rows)) return INVALID;
        if (layout->batch != d->batch || layout->batch < 1) return INVALID;
    }
    if (d->batch > 1 && d->stride < int64_t(d->rows)) return INVALID;  // results would overlap
    auto rows = [&](const Layout* l, int i) { return desc->transposed[i] ? l->columns : l->rows; };
    auto columns = [&](const Layout* l, int i) { return desc->transposed[i] ? l->rows : l->columns; };
    if (rows(a, 0) != d->rows || columns(b, 1) != d->columns || columns(a, 0) != rows(b, 1))
        return INVALID;
    if (!d->rows || !d->columns || !columns(a, 0)) return INVALID;
    if (a->type != b->type) return NOT_SUPPORTED;
    bool fits = false;
    if (desc->compute == COMPUTE_64F)
        fits = desc->scale == F64 && a->type == F64 && d->type == F64;
    else if (desc->compute == COMPUTE_TF32)
        fits = desc->scale == F32 && a->type == F32 && d->type == F32;
    else if (desc->compute == COMPUTE_32F)
        fits = desc->scale == F32 && a->type != F64 && (d->type == a->type || d->type == F32);
    if (!fits) return NOT_SUPPORTED;
    uint32_t epilogue = desc->epilogue;
    if (epilogue != DEFAULT && (epilogue & missing)) return NOT_SUPPORTED;
    bool known = epilogue == DEFAULT || epilogue == RELU || epilogue == BIAS ||
                 epilogue == (RELU | BIAS) || (epilogue == BGRADA && d->batch == 1);
    return known ? OK : NOT_SUPPORTED;
}

template <class T>
int create(void** made, T value) {
    if (!made) return INVALID;
    *made = new T(value);
    ++alive;
    return OK;
}

template <class T>
int destroy(void* held, uint64_t magic) {
    auto* object = static_cast<T*>(held);
    if (!object || object->magic != magic) return INVALID;
    object->magic = 0;
    delete object;
    --alive;
    return OK;
}

}  // namespace

extern "C" {

// For the tests.
void stand_in_without(uint32_t epilogues) { missing = epilogues; }
int64_t stand_in_count(int what) { return what == 3 ? alive : counts[what]; }

size_t cublasLtGetVersion() { return 131000; }

const char* cublasLtGetStatusString(int status) {
    switch (status) {
        case OK: return "success";
        case NOT_INITIALIZED: return "the library was not initialized";
        case INVALID: return "an unsupported value or parameter was passed to the function";
        case NOT_SUPPORTED: return "the requested functionality is not supported";
        default: return nullptr;
    }
}

int cublasLtCreate(void** made) {
    ++counts[0];
    *made = &handle;
    return OK;
}

int cublasLtMatmulDescCreate(void** made, int compute, int scale) {
    Desc desc;
    desc.compute = compute, desc.scale = scale;
    return create(made, desc);
}

int cublasLtMatmulDescDestroy(void* held) { return destroy<Desc>(held, DESC); }

int cublasLtMatmulDescSetAttribute(void* held, int attribute, const void* buffer, size_t size) {
    auto* desc = static_cast<Desc*>(held);
    if (!desc || desc->magic != DESC) return INVALID;
    switch (attribute) {
        case 3: return set(desc->transposed[0], buffer, size);
        case 4: return set(desc->transposed[1], buffer, size);
        case 7: return set(desc->epilogue, buffer, size);
        case 8: return set(desc->vector, buffer, size);
        default: return INVALID;
    }
}

int cublasLtMatrixLayoutCreate(void** made, int type, uint64_t rows, uint64_t columns,
                               int64_t leading) {
    if (!known_type(type)) return INVALID;
    Layout layout;
    layout.type = type, layout.rows = rows, layout.columns = columns, layout.leading = leading;
    return create(made, layout);
}

int cublasLtMatrixLayoutDestroy(void* held) { return destroy<Layout>(held, LAYOUT); }

int cublasLtMatrixLayoutSetAttribute(void* held, int attribute, const void* buffer, size_t size) {
    auto* layout = static_cast<Layout*>(held);
    if (!layout || layout->magic != LAYOUT) return INVALID;
    switch (attribute) {
        case 5: return set(layout->batch, buffer, size);
        case 6: return set(layout->stride, buffer, size);
        default: return INVALID;
    }
}

int cublasLtMatmulPreferenceCreate(void** made) { return create(made, Preference()); }

int cublasLtMatmulPreferenceDestroy(void* held) { return destroy<Preference>(held, PREFERENCE); }

int cublasLtMatmulPreferenceSetAttribute(void* held, int attribute, const void* buffer,
                                         size_t size) {
    auto* preference = static_cast<Preference*>(held);
    if (!preference || preference->magic != PREFERENCE) return INVALID;
    if (attribute == 1) return set(preference->workspace, buffer, size);
    if (attribute < 5 || attribute > 8) return INVALID;
    return set(preference->alignment[attribute - 5], buffer, size);
}

int cublasLtMatmulAlgoGetHeuristic(void* lt, void* desc_, void* a_, void* b_, void* c_, void* d_,
                                   void* preference_, int wanted, Heuristic* found, int* count) {
    ++counts[1];
    if (lt != &handle) return NOT_INITIALIZED;
    auto* desc = static_cast<Desc*>(desc_);
    auto *a = static_cast<Layout*>(a_), *b = static_cast<Layout*>(b_), *d = static_cast<Layout*>(d_);
    auto* preference = static_cast<Preference*>(preference_);
    if (!desc || desc->magic != DESC || !preference || preference->magic != PREFERENCE)
        return INVALID;
    if (wanted < 1 || c_ != d_) return INVALID;
    *count = 0;
    if (int status = check(desc, a, b, d)) return status;
    Algorithm algorithm{};
    algorithm.magic = reinterpret_cast<uint64_t>(desc);
    algorithm.workspace = preference->workspace;  // all of it, so that less shows
    std::copy_n(preference->alignment, 4, algorithm.alignment);
    algorithm.vector = desc->vector ? alignment_of(desc->vector) : 0;
    algorithm.epilogue = desc->epilogue;
    *found = {algorithm, algorithm.workspace, OK, 1.0f, {}};
    *count = 1;
    return OK;
}

int cublasLtMatmul(void* lt, void* desc_, const void* alpha_, const void* a, void* a_layout,
                   const void* b, void* b_layout, const void* beta_, const void* c, void* c_layout,
                   void* d, void* d_layout, const Algorithm* algorithm, void* workspace,
                   size_t workspace_size, void*) {
    ++counts[2];
    if (lt != &handle) return NOT_INITIALIZED;
    auto* desc = static_cast<Desc*>(desc_);
    if (!desc || desc->magic != DESC) return INVALID;
    auto *la = static_cast<Layout*>(a_layout), *lb = static_cast<Layout*>(b_layout),
         *ld = static_cast<Layout*>(d_layout);
    if (c != d || c_layout != d_layout || !a || !b || !d || !alpha_ || !beta_ || !algorithm)
        return INVALID;
    if (int status = check(desc, la, lb, ld)) return status;
    if (algorithm->magic != reinterpret_cast<uint64_t>(desc)) return INVALID;
    if (algorithm->epilogue != desc->epilogue) return INVALID;
    if (workspace_size < algorithm->workspace || !workspace) return INVALID;
    std::memset(workspace, 0xa5, algorithm->workspace);
    const void* places[] = {a, b, c, d};
    for (int i = 0; i < 4; ++i)
        if (alignment_of(places[i]) < algorithm->alignment[i]) return INVALID;
    bool takes_vector = desc->epilogue != DEFAULT && desc->epilogue != RELU;
    if (takes_vector && (!desc->vector || alignment_of(desc->vector) < algorithm->vector))
        return INVALID;

    bool wide = desc->scale == F64;
    double alpha = wide ? *static_cast<const double*>(alpha_) : *static_cast<const float*>(alpha_);
    double beta = wide ? *static_cast<const double*>(beta_) : *static_cast<const float*>(beta_);
    int64_t rows = ld->rows, columns = ld->columns;
    int64_t inner = desc->transposed[0] ? la->rows : la->columns;
    auto factor = [&](const void* base, const Layout* l, bool turned, int64_t i, int64_t j, int64_t n) {
        int64_t at = n * l->stride + (turned ? i * l->leading + j : j * l->leading + i);
        double value = load(base, l->type, at);
        return desc->compute == COMPUTE_TF32 ? rounded(float(value), 13) : value;
    };
    for (int64_t n = 0; n < ld->batch; ++n)
        for (int64_t j = 0; j < columns; ++j)
            for (int64_t i = 0; i < rows; ++i) {
                double sum = 0;
                for (int64_t k = 0; k < inner; ++k)
                    sum += factor(a, la, desc->transposed[0], i, k, n) *
                           factor(b, lb, desc->transposed[1], k, j, n);
                int64_t at = n * ld->stride + j * ld->leading + i;
                double value = alpha * sum;
                if (beta != 0) value += beta * load(c, ld->type, at);
                if (takes_vector && desc->epilogue != BGRADA)
                    value += load(desc->vector, ld->type, i);
                if (desc->epilogue & RELU) value = std::max(value, 0.0);
                store(d, ld->type, at, value);
            }
    if (desc->epilogue == BGRADA)
        for (int64_t i = 0; i < rows; ++i) {
            double sum = 0;
            for (int64_t k = 0; k < inner; ++k) {
                int64_t at = desc->transposed[0] ? i * la->leading + k : k * la->leading + i;
                sum += load(a, la->type, at);
            }
            store(desc->vector, ld->type, i, sum);
        }
    return OK;
}
}
