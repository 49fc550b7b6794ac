# Shared by .ci/run and .ci/slow.

# step TITLE: say what comes next, and how long the whole has taken.
step() {
    printf '\n== %s (%d s)\n' "$1" "$SECONDS"
}

# copy_checkout FROM TO: copy the files that git tracks or would track, as they are now.
copy_checkout() {
    mkdir -p "$2"
    git -c safe.directory='*' -C "$1" ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' path; do
            [ ! -e "$1/$path" ] || printf '%s\0' "$path"
        done |
        tar -C "$1" --null --files-from=- -cf - | tar -C "$2" -xf -
}

# readme_command N FILE: print the code block between the markers of command N.
readme_command() {
    awk -v marker="<!-- command $1 -->" '
        $0 == marker { inside = 1; next }
        inside && /^```/ { if (fenced) { done = 1; exit } fenced = 1; next }
        inside && fenced { print; found = 1 }
        END { if (!(done && found)) exit 1 }' "$2" ||
        { echo "$2 has no code block after '<!-- command $1 -->'" >&2; return 1; }
}

# compilers_of_cuda PYTHON FOLDER: put NVRTC of CUDA 13 and of CUDA 12 there, with which CuPy
# compiles kernels; they need neither a GPU nor a driver.
compilers_of_cuda() {
    "$1" -m pip install --no-deps --target "$2" \
        "nvidia-cuda-nvrtc==13.*" "nvidia-cuda-nvrtc-cu12==12.9.*"
    export GPUNET_NVRTC=$2
}
