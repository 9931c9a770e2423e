# Kerolox's own commands as a client, with the arguments of the others behind a scheme.
set -eu
scheme=$1 address=$2 action=$3 topic=$4
case $action in
send)
    "$KEROLOX" send --name-server "$scheme$address" --tag "$6" --key "$7" --property "colour=$8" "$topic" "$5" >/dev/null
    echo sent
    ;;
receive) "$KEROLOX" consume --name-server "$scheme$address" --output json "$topic" ;;
esac
