#!/bin/sh
# Where it has to keep working besides Linux: library and programs checked for macOS; for
# Windows built, started under Wine, and put through the integration suite:
#   sh tests/portable.sh [FILTER...]        words of `cargo test`; without, all of it (5 minutes)
# rustup, Debian's mingw and wine. Not what needs /bin/sh, file modes, /dev/full or Unix paths.
set -eu

cd "$(dirname "$0")/.."
out=$PWD/target/portable
has() { rustup target add "$1" >/dev/null 2>&1 || { echo "skipped: $1, which rustup cannot fetch here"; return 1; }; }

for target in x86_64-apple-darwin aarch64-apple-darwin; do
    if has $target; then
        CARGO_TARGET_DIR=$out RUSTFLAGS="-D warnings" cargo check -q --lib --bins --target $target
        echo "ok: library and programs are checked for $target"
    fi
done

target=x86_64-pc-windows-gnu
has $target || exit 0
built=$(sh docs/packaging/static.sh $target)
bins=$out/wine
mkdir -p "$bins"
cp "$built"/tcpmon-*.exe "$bins/"
# std asks Windows' newest source of randomness, which Wine before 9 lacks: by its older one.
cat >"$bins/random.c" <<'END'
#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T bytes) { return RtlGenRandom(to, bytes); }
END
x86_64-w64-mingw32-gcc -shared -O2 -o "$bins/bcryptprimitives.dll" "$bins/random.c" -ladvapi32
export WINEPREFIX="$out/prefix" WINEDEBUG=-all
trap 'wineserver -k || :' EXIT
for program in server agent manager; do
    printf '#!/bin/sh\nexec wine %s/tcpmon-%s.exe "$@"\n' "$bins" $program >"$bins/tcpmon-$program"
    chmod 755 "$bins/tcpmon-$program"
    echo "windows: $("$bins/tcpmon-$program" --version 2>/dev/null), $(($(wc -c <"$bins/tcpmon-$program.exe") / 1024)) KiB"
    "$bins/tcpmon-$program" --help 2>/dev/null | grep -q "^usage:"
done

skip=
# Alerts by /bin/sh, which Wine starts and cannot wait for.
for test in alerts::a_receiver_can_be_tested alerts::an_agent_that_is_gone alerts::a_webhook_that_fails \
    alerts::what_hangs_on_a_target alerts::an_outage_is_told_once; do
    skip="$skip --skip $test"
done
# File modes, /dev/full, paths with slashes, what Unix says of a file that is not there, an empty
# host name. And under Wine a read goes on in a socket that was shut down meanwhile, until its
# deadline of 30 s.
for test in silence::a_file_that_cannot_be_read silence::a_manager_that_runs_is_asked trust::files:: \
    server::statistics_that_cannot_be_written web::a_list_of_targets check::check_prints_and_ends \
    agent::a_newer_connection_replaces; do
    skip="$skip --skip $test"
done
# shellcheck disable=SC2086
TCPMON_BINS=$bins cargo test --test it -- $skip "$@"
