// What follows a sum on its way to memory: a bias, an activation, and more that is done to each element.
//
// Compiled for ACTIVATION, which comes behind the bias, and ENDING(z, at, channel): statements that go
// on with z, the value for place `at` of the result and for one of its channels, in terms of the
// operands o0 to o3. gpunet/fused/endings.py writes them.
#include "activations.cuh"
#include "items.cuh"

#ifndef ACTIVATION
#define ACTIVATION LINEAR
#endif
#ifndef ENDING
#define ENDING(z, at, channel)
#endif

// The arguments of a kernel that has an ending:
//
// bias [channels] or null; o0 to o3: operands [like the result] or [channels], null if unused
// before: like the result or null, gets what goes into the activation
#define ENDING_ARGUMENTS                                                                       \
    const item *__restrict__ bias, item *__restrict__ before, const item *__restrict__ o0,     \
        const item *__restrict__ o1, const item *__restrict__ o2, const item *__restrict__ o3
#define ENDING_GIVEN \
    { bias, before, o0, o1, o2, o3 }

struct Ending {
    const item* bias;
    item* before;
    const item *o0, *o1, *o2, *o3;

    // Does all that follows to a sum, which becomes what memory holds; returns that.
    __device__ item operator()(real& z, int64 at, [[maybe_unused]] int64 channel) const {
        if (bias != nullptr) z += gn_float(bias[channel]);
        if (before != nullptr) gn_round(before[at], z);
        z = activation<ACTIVATION>(z);
        ENDING(z, at, channel)
        item rounded;
        gn_round(rounded, z);
        z = gn_float(rounded);
        return rounded;
    }
};
