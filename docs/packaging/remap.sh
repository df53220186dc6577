# To be read by a script that stands in the project's directory: a compiler by which nothing of
# the machine that builds is to be read out of the programs. In flags of cargo's the paths would
# go into the names of symbols, and so into the order of what is linked.
#   remapped RUSTC DIR       makes DIR/rustc of RUSTC, and says its path
remapped() {
    mkdir -p "$2"
    places=
    for place in "$PWD=tcpmon" "${CARGO_HOME:-$HOME/.cargo}=cargo" "$("$1" --print sysroot)/lib/rustlib/src=rust"; do
        places="$places --remap-path-prefix='$place'"
    done
    printf '#!/bin/sh\nexec %s "$@"%s\n' "'$1'" "$places" >"$2/rustc.new"
    chmod 755 "$2/rustc.new"
    # Cargo asks a compiler that changed anew, and builds anew.
    cmp -s "$2/rustc.new" "$2/rustc" || mv "$2/rustc.new" "$2/rustc"
    echo "$2/rustc"
}
