# Given: stamp. shellcheck shell=sh
[ ! -e "./$stamp/direct/host" ] || while read -r _ _ _ _ copies _; do
    printf '%s %s\n' "$stamp" "$copies"
done <"./$stamp/direct/host"
