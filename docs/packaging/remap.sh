# To be read by a script that stands in the project's directory: compiler flags by which
# nothing of the machine that builds is to be read out of the programs, for the compiler $1.
remap() {
    for place in "$PWD=tcpmon" "${CARGO_HOME:-$HOME/.cargo}=cargo" "$("$1" --print sysroot)/lib/rustlib/src=rust"; do
        printf ' --remap-path-prefix=%s' "$place"
    done
}
