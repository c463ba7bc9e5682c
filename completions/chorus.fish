# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_chorus_global_optspecs
    string join \n h/help V/version
end

function __fish_chorus_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_chorus_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_chorus_using_subcommand
    set -l cmd (__fish_chorus_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c chorus -n "__fish_chorus_needs_command" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_needs_command" -s V -l version -d 'Print version'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "serve" -d 'Run the server'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "operator" -d 'Run the Kubernetes operator, or one of its tools'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "migrate" -d 'Bring the database schema up to date, or tell whether it is'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "secrets" -d 'Look after the keyring: rotate keys, see what they seal'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "config" -d 'Look at the server\'s configuration'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "version" -d 'Print the version'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "login" -d 'Sign in to a server, and remember it'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "logout" -d 'End the session at the server, and forget it'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "whoami" -d 'Show who is signed in'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "password" -d 'Change your own password'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "totp" -d 'Set up your second factor: one-time codes of an authenticator app'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "user" -d 'Manage user accounts'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "token" -d 'Manage API tokens for programs'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "role" -d 'See roles, grant and revoke them, define roles of your own'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "workspace" -d 'Manage workspaces and their members'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "workbench" -d 'Manage workbenches (remote desktops), their members and what runs in them'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "open" -d 'Open the desktop of a workbench in a browser, like `chorus workbench open`'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "app" -d 'Manage the catalogue of apps'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "wait" -d 'Wait until a workbench or an app instance is as it should be'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "session" -d 'See where you are signed in, and end sessions'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "notification" -d 'Read your notifications'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "audit" -d 'Read the audit trail: who did what, and how it ended'
complete -c chorus -n "__fish_chorus_needs_command" -f -a "server" -d 'Ask how the server is'
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l listen -d 'Address and port of the HTTP listener: REST, gRPC-web, documentation, metrics, health [default: 127.0.0.1:5000]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l grpc-listen -d 'Address and port of the gRPC listener [default: 127.0.0.1:5555]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l public-url -d 'The URL under which browsers reach the HTTP listener, when a proxy stands in front of it' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l cors-origin -d 'Origins (scheme, host and port, compared exactly) whose pages may call the API with the user\'s cookie' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l trusted-proxy -d 'Networks of the reverse proxies whose forwarding headers are believed, such as 10.0.0.0/8' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l request-timeout -d 'The longest that a call may take; streams are exempt [default: 30s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l shutdown-timeout -d 'How long a stopping server waits for the calls that still run [default: 20s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l data-dir -d 'Where the embedded database and the keyring live. Made with mode 0700 when it does not exist [default: ./chorus-data]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l keys -d 'The keyring with the keys that sign tokens and seal secrets. Back it up: sealed data is lost with it [default: the file `keys` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l database-url -d 'The database: postgres://USER:PASSWORD@HOST/NAME, or sqlite:FILE [default: the SQLite file `chorus.db` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l database-max-connections -d 'The most connections to the database that this process opens [default: 10]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l migrate -d 'Bring the database schema up to date at start [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l admin-username -d 'User name of the administrator that the first start creates [default: chorus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l admin-password-file -d 'File with the password of that administrator. Without it, a random one is printed once' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l session-idle-timeout -d 'A session ends when it was not used for this long [default: 12h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l session-max-lifetime -d 'A session ends this long after the sign-in, however much it is used. At most 366 days [default: 7d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l token-max-lifetime -d 'The longest that an API token may be made for. Tokens that exist keep the end that they were made with [default: 365d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l cookie-secure -d 'Whether browsers send the session cookie over TLS only. `auto`: yes, unless the listener is plain HTTP on loopback [one of: auto, always, never] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l cookie-same-site -d 'The SameSite attribute of the session cookie [one of: lax, strict, none] [default: lax]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l public-registration -d 'Whether anybody may create an account without being signed in [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l registration-tenant -d 'Tenant of accounts that register themselves; the default tenant when not set' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l require-email -d 'Whether every user needs an e-mail address [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l workspace-admin-can-assign-data-manager -d 'Whether the administrator of a workspace may appoint its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l runtime -d 'What runs the desktops. `local`: processes on this host, without isolation, for evaluation. `auto`: local with the embedded database, loopback listeners, outside a cluster and with xpra installed; none otherwise [one of: auto, none, local, kubernetes] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l insecure-local-runtime -d 'Let the local runtime run although this server listens beyond loopback. Its desktops are not isolated [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l metrics -d 'Whether the HTTP listener answers /metrics for Prometheus [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l local-dir -d 'Where the local runtime keeps the files of desktops. Those of root\'s desktops, which do not run as root, are not in the data directory, which is closed to them [default: `desktops` in the data directory; for root a folder in /var/lib/chorus-desktops]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l local-user -d 'The Unix user that the local runtime\'s desktops run as when the server runs as root. They never run as root [default: nobody]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l local-app -d 'Which command an app runs in the local runtime, by the name of its image: apps/editor=mousepad. A command with arguments is split at white space' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l local-unattended-timeout -d 'A desktop of the local runtime ends when no server asked for it for this long [default: 10m]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l workbench-idle-timeout -d 'A workbench that nobody used for this long is stopped; its files stay. `0s`: never [default: 24h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l workbench-idle-warning -d 'How long before that its owner is told. `0s`: not at all [default: 1h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l workbench-max-age -d 'A workbench that was created this long ago is deleted with its files. `0s`: never [default: 0s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l workbench-wake-on-open -d 'Whether opening a workbench starts it again when it was stopped because nobody used it [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l workspace-creator-is-admin -d 'Whether who creates a workspace becomes its administrator [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l workspace-creator-is-data-manager -d 'Whether who creates a workspace becomes its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l workspace-gid-offset -d 'Added to the id of a workspace to form its Unix group id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l user-uid-offset -d 'Added to the id of a user to form the Unix user id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -l operator -d 'Whether `chorus serve` runs the Kubernetes operator in its process [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand serve" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l kubeconfig -d 'How to reach the API server [default: the service account in a cluster, else $KUBECONFIG or ~/.kube/config]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l namespace -d 'The namespace of the operator, where its lease is [default: the namespace of the pod, else `chorus`]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l leader-elect -d 'Whether the operator acts only while it holds the lease, so that one of several replicas acts [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l concurrency -d 'How many resources the operator works on at a time [default: 8]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l health-probe-bind-address -d 'Where `chorus operator` answers /healthz and /readyz. `0`: nowhere [default: :8081]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l metrics-bind-address -d 'Where `chorus operator` answers /metrics for Prometheus, without TLS. `0`: nowhere [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l registry -d 'Registry of the images of servers, apps and set-up, where nothing else is said. Empty: none [default: harbor.build.chorus-tre.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l apps-repository -d 'Path of the server image in the registry [default: apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l services-repository -d 'Path of the charts of workspace services in the registry. Not used yet: services of workspaces are not built [default: services]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l xpra-server-image -d 'The image of desktop servers, without tag [default: `xpra-server` in the registry and repository of apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l init-container-image -d 'The image that sets up the user of an app, without tag [default: `apps/app-init` in the registry]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l socat-image -d 'The image of the X11 relay, with tag [default: alpine/socat:1.8.0.0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l setup-image -d 'The image of the Jobs that make the folders of a workspace on a file system, with tag [default: busybox:1.37]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l juicefs-secret-name -d 'The Secret of the object storage (JuiceFS); its key `name` is the file system [default: juicefs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l juicefs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l nfs-secret-name -d 'The Secret of the NFS server; its keys `server` and `share` say which [default: nfs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l nfs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l local-storage-enabled -d 'Whether workbenches may mount a folder of their node. For development only [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l local-storage-host-path -d 'That folder [default: /tmp/workbench-local-storage]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l debug-mode-enabled -d 'Run servers and apps as privileged root containers. For development only: it isolates nothing [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l workbench-priority-class-name -d 'PriorityClass of server pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l application-priority-class-name -d 'PriorityClass of app pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l workbench-startup-timeout -d 'Seconds that a server may take to start. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l application-startup-timeout -d 'Seconds that an app may take to start; then it has failed. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l workbench-cpu-limit -d 'CPU limit of server containers, where a Workbench says nothing about resources' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l workbench-memory-limit -d 'Likewise: memory limit' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l workbench-cpu-request -d 'Likewise: CPU request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l workbench-memory-request -d 'Likewise: memory request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l pvc-label -d 'Labels of every volume claim' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l global-internal-service -d 'Services of the platform that every workspace reaches, through the gateways' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l allowed-ingress-namespace -d 'Namespaces whose pods may connect into workspaces. `none` alone: no namespace [default: backend, prometheus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l allowed-egress-namespace -d 'Namespaces of the gateways behind which the internal services are. `none` alone: no namespace [default: envoy-gateway-system, ingress-nginx]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l envoy-gateway-namespace -d 'Those of them whose gateway listens 10000 ports higher, below port 1024. `none` alone: no namespace [default: envoy-gateway-system, if it is one of the gateways\' namespaces]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l dns-server -d 'Addresses of DNS servers outside kube-system that pods ask, such as the cache of each node' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l cluster-domain -d 'The cluster\'s own domain [default: cluster.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l license-secret-name -d 'The Secret with licences, looked up in the namespace of each workbench' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -l require-network-policy -d 'Whether no session starts in a workspace whose network policy is not in force. Without, sessions may be open to the network [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -f -a "crds" -d 'Print the CustomResourceDefinitions'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -f -a "rbac" -d 'Print the namespace, the service account and the roles of the operator'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -f -a "manifests" -d 'Print everything that has to be installed: `chorus operator manifests --image IMAGE | kubectl apply -f -`'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -f -a "render" -d 'Print what resources become, without a cluster: `chorus operator render -f workbench.yaml -f workspace.yaml`'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -f -a "doctor" -d 'Say what a cluster lacks, and what to do about it'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and not __fish_seen_subcommand_from crds rbac manifests render doctor adopt" -f -a "adopt" -d 'List the servers that a former operator started; with --restart, let them be started anew'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from crds" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l image -d 'The image of this program, with tag' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l pull-secret -d 'Pull secret for that image; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l replicas -d 'How many run; one of them leads' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l kubeconfig -d 'How to reach the API server [default: the service account in a cluster, else $KUBECONFIG or ~/.kube/config]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l namespace -d 'The namespace of the operator, where its lease is [default: the namespace of the pod, else `chorus`]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l leader-elect -d 'Whether the operator acts only while it holds the lease, so that one of several replicas acts [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l concurrency -d 'How many resources the operator works on at a time [default: 8]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l health-probe-bind-address -d 'Where `chorus operator` answers /healthz and /readyz. `0`: nowhere [default: :8081]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l metrics-bind-address -d 'Where `chorus operator` answers /metrics for Prometheus, without TLS. `0`: nowhere [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l registry -d 'Registry of the images of servers, apps and set-up, where nothing else is said. Empty: none [default: harbor.build.chorus-tre.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l apps-repository -d 'Path of the server image in the registry [default: apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l services-repository -d 'Path of the charts of workspace services in the registry. Not used yet: services of workspaces are not built [default: services]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l xpra-server-image -d 'The image of desktop servers, without tag [default: `xpra-server` in the registry and repository of apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l init-container-image -d 'The image that sets up the user of an app, without tag [default: `apps/app-init` in the registry]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l socat-image -d 'The image of the X11 relay, with tag [default: alpine/socat:1.8.0.0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l setup-image -d 'The image of the Jobs that make the folders of a workspace on a file system, with tag [default: busybox:1.37]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l juicefs-secret-name -d 'The Secret of the object storage (JuiceFS); its key `name` is the file system [default: juicefs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l juicefs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l nfs-secret-name -d 'The Secret of the NFS server; its keys `server` and `share` say which [default: nfs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l nfs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l local-storage-enabled -d 'Whether workbenches may mount a folder of their node. For development only [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l local-storage-host-path -d 'That folder [default: /tmp/workbench-local-storage]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l debug-mode-enabled -d 'Run servers and apps as privileged root containers. For development only: it isolates nothing [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l workbench-priority-class-name -d 'PriorityClass of server pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l application-priority-class-name -d 'PriorityClass of app pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l workbench-startup-timeout -d 'Seconds that a server may take to start. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l application-startup-timeout -d 'Seconds that an app may take to start; then it has failed. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l workbench-cpu-limit -d 'CPU limit of server containers, where a Workbench says nothing about resources' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l workbench-memory-limit -d 'Likewise: memory limit' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l workbench-cpu-request -d 'Likewise: CPU request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l workbench-memory-request -d 'Likewise: memory request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l pvc-label -d 'Labels of every volume claim' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l global-internal-service -d 'Services of the platform that every workspace reaches, through the gateways' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l allowed-ingress-namespace -d 'Namespaces whose pods may connect into workspaces. `none` alone: no namespace [default: backend, prometheus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l allowed-egress-namespace -d 'Namespaces of the gateways behind which the internal services are. `none` alone: no namespace [default: envoy-gateway-system, ingress-nginx]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l envoy-gateway-namespace -d 'Those of them whose gateway listens 10000 ports higher, below port 1024. `none` alone: no namespace [default: envoy-gateway-system, if it is one of the gateways\' namespaces]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l dns-server -d 'Addresses of DNS servers outside kube-system that pods ask, such as the cache of each node' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l cluster-domain -d 'The cluster\'s own domain [default: cluster.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l license-secret-name -d 'The Secret with licences, looked up in the namespace of each workbench' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l require-network-policy -d 'Whether no session starts in a workspace whose network policy is not in force. Without, sessions may be open to the network [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l service-monitor -d 'Ask the Prometheus operator to collect the metrics'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l without-priority-classes -d 'Leave out the PriorityClasses that are used'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -l without-crds -d 'Leave out the CustomResourceDefinitions, which hold all workbenches'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from rbac" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l image -d 'The image of this program, with tag' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l pull-secret -d 'Pull secret for that image; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l replicas -d 'How many run; one of them leads' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l kubeconfig -d 'How to reach the API server [default: the service account in a cluster, else $KUBECONFIG or ~/.kube/config]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l namespace -d 'The namespace of the operator, where its lease is [default: the namespace of the pod, else `chorus`]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l leader-elect -d 'Whether the operator acts only while it holds the lease, so that one of several replicas acts [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l concurrency -d 'How many resources the operator works on at a time [default: 8]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l health-probe-bind-address -d 'Where `chorus operator` answers /healthz and /readyz. `0`: nowhere [default: :8081]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l metrics-bind-address -d 'Where `chorus operator` answers /metrics for Prometheus, without TLS. `0`: nowhere [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l registry -d 'Registry of the images of servers, apps and set-up, where nothing else is said. Empty: none [default: harbor.build.chorus-tre.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l apps-repository -d 'Path of the server image in the registry [default: apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l services-repository -d 'Path of the charts of workspace services in the registry. Not used yet: services of workspaces are not built [default: services]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l xpra-server-image -d 'The image of desktop servers, without tag [default: `xpra-server` in the registry and repository of apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l init-container-image -d 'The image that sets up the user of an app, without tag [default: `apps/app-init` in the registry]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l socat-image -d 'The image of the X11 relay, with tag [default: alpine/socat:1.8.0.0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l setup-image -d 'The image of the Jobs that make the folders of a workspace on a file system, with tag [default: busybox:1.37]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l juicefs-secret-name -d 'The Secret of the object storage (JuiceFS); its key `name` is the file system [default: juicefs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l juicefs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l nfs-secret-name -d 'The Secret of the NFS server; its keys `server` and `share` say which [default: nfs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l nfs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l local-storage-enabled -d 'Whether workbenches may mount a folder of their node. For development only [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l local-storage-host-path -d 'That folder [default: /tmp/workbench-local-storage]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l debug-mode-enabled -d 'Run servers and apps as privileged root containers. For development only: it isolates nothing [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l workbench-priority-class-name -d 'PriorityClass of server pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l application-priority-class-name -d 'PriorityClass of app pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l workbench-startup-timeout -d 'Seconds that a server may take to start. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l application-startup-timeout -d 'Seconds that an app may take to start; then it has failed. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l workbench-cpu-limit -d 'CPU limit of server containers, where a Workbench says nothing about resources' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l workbench-memory-limit -d 'Likewise: memory limit' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l workbench-cpu-request -d 'Likewise: CPU request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l workbench-memory-request -d 'Likewise: memory request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l pvc-label -d 'Labels of every volume claim' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l global-internal-service -d 'Services of the platform that every workspace reaches, through the gateways' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l allowed-ingress-namespace -d 'Namespaces whose pods may connect into workspaces. `none` alone: no namespace [default: backend, prometheus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l allowed-egress-namespace -d 'Namespaces of the gateways behind which the internal services are. `none` alone: no namespace [default: envoy-gateway-system, ingress-nginx]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l envoy-gateway-namespace -d 'Those of them whose gateway listens 10000 ports higher, below port 1024. `none` alone: no namespace [default: envoy-gateway-system, if it is one of the gateways\' namespaces]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l dns-server -d 'Addresses of DNS servers outside kube-system that pods ask, such as the cache of each node' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l cluster-domain -d 'The cluster\'s own domain [default: cluster.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l license-secret-name -d 'The Secret with licences, looked up in the namespace of each workbench' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l require-network-policy -d 'Whether no session starts in a workspace whose network policy is not in force. Without, sessions may be open to the network [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l service-monitor -d 'Ask the Prometheus operator to collect the metrics'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l without-priority-classes -d 'Leave out the PriorityClasses that are used'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -l without-crds -d 'Leave out the CustomResourceDefinitions, which hold all workbenches'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from manifests" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -s f -l file -d 'File with Workbench and Workspace resources, YAML or JSON; may be repeated; `-` is standard input' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l as-observed -d 'File that says what is there already (docs/operator.md)' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l kubeconfig -d 'How to reach the API server [default: the service account in a cluster, else $KUBECONFIG or ~/.kube/config]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l namespace -d 'The namespace of the operator, where its lease is [default: the namespace of the pod, else `chorus`]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l leader-elect -d 'Whether the operator acts only while it holds the lease, so that one of several replicas acts [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l concurrency -d 'How many resources the operator works on at a time [default: 8]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l health-probe-bind-address -d 'Where `chorus operator` answers /healthz and /readyz. `0`: nowhere [default: :8081]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l metrics-bind-address -d 'Where `chorus operator` answers /metrics for Prometheus, without TLS. `0`: nowhere [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l registry -d 'Registry of the images of servers, apps and set-up, where nothing else is said. Empty: none [default: harbor.build.chorus-tre.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l apps-repository -d 'Path of the server image in the registry [default: apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l services-repository -d 'Path of the charts of workspace services in the registry. Not used yet: services of workspaces are not built [default: services]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l xpra-server-image -d 'The image of desktop servers, without tag [default: `xpra-server` in the registry and repository of apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l init-container-image -d 'The image that sets up the user of an app, without tag [default: `apps/app-init` in the registry]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l socat-image -d 'The image of the X11 relay, with tag [default: alpine/socat:1.8.0.0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l setup-image -d 'The image of the Jobs that make the folders of a workspace on a file system, with tag [default: busybox:1.37]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l juicefs-secret-name -d 'The Secret of the object storage (JuiceFS); its key `name` is the file system [default: juicefs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l juicefs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l nfs-secret-name -d 'The Secret of the NFS server; its keys `server` and `share` say which [default: nfs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l nfs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l local-storage-enabled -d 'Whether workbenches may mount a folder of their node. For development only [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l local-storage-host-path -d 'That folder [default: /tmp/workbench-local-storage]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l debug-mode-enabled -d 'Run servers and apps as privileged root containers. For development only: it isolates nothing [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l workbench-priority-class-name -d 'PriorityClass of server pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l application-priority-class-name -d 'PriorityClass of app pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l workbench-startup-timeout -d 'Seconds that a server may take to start. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l application-startup-timeout -d 'Seconds that an app may take to start; then it has failed. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l workbench-cpu-limit -d 'CPU limit of server containers, where a Workbench says nothing about resources' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l workbench-memory-limit -d 'Likewise: memory limit' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l workbench-cpu-request -d 'Likewise: CPU request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l workbench-memory-request -d 'Likewise: memory request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l pvc-label -d 'Labels of every volume claim' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l global-internal-service -d 'Services of the platform that every workspace reaches, through the gateways' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l allowed-ingress-namespace -d 'Namespaces whose pods may connect into workspaces. `none` alone: no namespace [default: backend, prometheus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l allowed-egress-namespace -d 'Namespaces of the gateways behind which the internal services are. `none` alone: no namespace [default: envoy-gateway-system, ingress-nginx]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l envoy-gateway-namespace -d 'Those of them whose gateway listens 10000 ports higher, below port 1024. `none` alone: no namespace [default: envoy-gateway-system, if it is one of the gateways\' namespaces]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l dns-server -d 'Addresses of DNS servers outside kube-system that pods ask, such as the cache of each node' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l cluster-domain -d 'The cluster\'s own domain [default: cluster.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l license-secret-name -d 'The Secret with licences, looked up in the namespace of each workbench' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l require-network-policy -d 'Whether no session starts in a workspace whose network policy is not in force. Without, sessions may be open to the network [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -l show-secrets -d 'Show tokens instead of a word in their place'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from render" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -s o -l output -d 'As a table for people, or as JSON' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l kubeconfig -d 'How to reach the API server [default: the service account in a cluster, else $KUBECONFIG or ~/.kube/config]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l namespace -d 'The namespace of the operator, where its lease is [default: the namespace of the pod, else `chorus`]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l leader-elect -d 'Whether the operator acts only while it holds the lease, so that one of several replicas acts [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l concurrency -d 'How many resources the operator works on at a time [default: 8]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l health-probe-bind-address -d 'Where `chorus operator` answers /healthz and /readyz. `0`: nowhere [default: :8081]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l metrics-bind-address -d 'Where `chorus operator` answers /metrics for Prometheus, without TLS. `0`: nowhere [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l registry -d 'Registry of the images of servers, apps and set-up, where nothing else is said. Empty: none [default: harbor.build.chorus-tre.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l apps-repository -d 'Path of the server image in the registry [default: apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l services-repository -d 'Path of the charts of workspace services in the registry. Not used yet: services of workspaces are not built [default: services]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l xpra-server-image -d 'The image of desktop servers, without tag [default: `xpra-server` in the registry and repository of apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l init-container-image -d 'The image that sets up the user of an app, without tag [default: `apps/app-init` in the registry]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l socat-image -d 'The image of the X11 relay, with tag [default: alpine/socat:1.8.0.0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l setup-image -d 'The image of the Jobs that make the folders of a workspace on a file system, with tag [default: busybox:1.37]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l juicefs-secret-name -d 'The Secret of the object storage (JuiceFS); its key `name` is the file system [default: juicefs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l juicefs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l nfs-secret-name -d 'The Secret of the NFS server; its keys `server` and `share` say which [default: nfs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l nfs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l local-storage-enabled -d 'Whether workbenches may mount a folder of their node. For development only [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l local-storage-host-path -d 'That folder [default: /tmp/workbench-local-storage]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l debug-mode-enabled -d 'Run servers and apps as privileged root containers. For development only: it isolates nothing [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l workbench-priority-class-name -d 'PriorityClass of server pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l application-priority-class-name -d 'PriorityClass of app pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l workbench-startup-timeout -d 'Seconds that a server may take to start. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l application-startup-timeout -d 'Seconds that an app may take to start; then it has failed. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l workbench-cpu-limit -d 'CPU limit of server containers, where a Workbench says nothing about resources' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l workbench-memory-limit -d 'Likewise: memory limit' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l workbench-cpu-request -d 'Likewise: CPU request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l workbench-memory-request -d 'Likewise: memory request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l pvc-label -d 'Labels of every volume claim' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l global-internal-service -d 'Services of the platform that every workspace reaches, through the gateways' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l allowed-ingress-namespace -d 'Namespaces whose pods may connect into workspaces. `none` alone: no namespace [default: backend, prometheus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l allowed-egress-namespace -d 'Namespaces of the gateways behind which the internal services are. `none` alone: no namespace [default: envoy-gateway-system, ingress-nginx]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l envoy-gateway-namespace -d 'Those of them whose gateway listens 10000 ports higher, below port 1024. `none` alone: no namespace [default: envoy-gateway-system, if it is one of the gateways\' namespaces]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l dns-server -d 'Addresses of DNS servers outside kube-system that pods ask, such as the cache of each node' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l cluster-domain -d 'The cluster\'s own domain [default: cluster.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l license-secret-name -d 'The Secret with licences, looked up in the namespace of each workbench' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -l require-network-policy -d 'Whether no session starts in a workspace whose network policy is not in force. Without, sessions may be open to the network [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l kubeconfig -d 'How to reach the API server [default: the service account in a cluster, else $KUBECONFIG or ~/.kube/config]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l namespace -d 'The namespace of the operator, where its lease is [default: the namespace of the pod, else `chorus`]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l leader-elect -d 'Whether the operator acts only while it holds the lease, so that one of several replicas acts [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l concurrency -d 'How many resources the operator works on at a time [default: 8]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l health-probe-bind-address -d 'Where `chorus operator` answers /healthz and /readyz. `0`: nowhere [default: :8081]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l metrics-bind-address -d 'Where `chorus operator` answers /metrics for Prometheus, without TLS. `0`: nowhere [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l registry -d 'Registry of the images of servers, apps and set-up, where nothing else is said. Empty: none [default: harbor.build.chorus-tre.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l apps-repository -d 'Path of the server image in the registry [default: apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l services-repository -d 'Path of the charts of workspace services in the registry. Not used yet: services of workspaces are not built [default: services]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l xpra-server-image -d 'The image of desktop servers, without tag [default: `xpra-server` in the registry and repository of apps]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l init-container-image -d 'The image that sets up the user of an app, without tag [default: `apps/app-init` in the registry]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l socat-image -d 'The image of the X11 relay, with tag [default: alpine/socat:1.8.0.0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l setup-image -d 'The image of the Jobs that make the folders of a workspace on a file system, with tag [default: busybox:1.37]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l juicefs-secret-name -d 'The Secret of the object storage (JuiceFS); its key `name` is the file system [default: juicefs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l juicefs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l nfs-secret-name -d 'The Secret of the NFS server; its keys `server` and `share` say which [default: nfs-secret]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l nfs-secret-namespace -d 'The namespace of that Secret [default: kube-system]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l local-storage-enabled -d 'Whether workbenches may mount a folder of their node. For development only [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l local-storage-host-path -d 'That folder [default: /tmp/workbench-local-storage]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l debug-mode-enabled -d 'Run servers and apps as privileged root containers. For development only: it isolates nothing [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l workbench-priority-class-name -d 'PriorityClass of server pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l application-priority-class-name -d 'PriorityClass of app pods' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l workbench-startup-timeout -d 'Seconds that a server may take to start. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l application-startup-timeout -d 'Seconds that an app may take to start; then it has failed. 0: for ever [default: 600]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l workbench-cpu-limit -d 'CPU limit of server containers, where a Workbench says nothing about resources' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l workbench-memory-limit -d 'Likewise: memory limit' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l workbench-cpu-request -d 'Likewise: CPU request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l workbench-memory-request -d 'Likewise: memory request' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l pvc-label -d 'Labels of every volume claim' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l global-internal-service -d 'Services of the platform that every workspace reaches, through the gateways' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l allowed-ingress-namespace -d 'Namespaces whose pods may connect into workspaces. `none` alone: no namespace [default: backend, prometheus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l allowed-egress-namespace -d 'Namespaces of the gateways behind which the internal services are. `none` alone: no namespace [default: envoy-gateway-system, ingress-nginx]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l envoy-gateway-namespace -d 'Those of them whose gateway listens 10000 ports higher, below port 1024. `none` alone: no namespace [default: envoy-gateway-system, if it is one of the gateways\' namespaces]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l dns-server -d 'Addresses of DNS servers outside kube-system that pods ask, such as the cache of each node' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l cluster-domain -d 'The cluster\'s own domain [default: cluster.local]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l license-secret-name -d 'The Secret with licences, looked up in the namespace of each workbench' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l require-network-policy -d 'Whether no session starts in a workspace whose network policy is not in force. Without, sessions may be open to the network [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l restart -d 'Start their servers anew: who works in one loses what is not saved'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -l all -d 'All that are listed'
complete -c chorus -n "__fish_chorus_using_subcommand operator; and __fish_seen_subcommand_from adopt" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l listen -d 'Address and port of the HTTP listener: REST, gRPC-web, documentation, metrics, health [default: 127.0.0.1:5000]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l grpc-listen -d 'Address and port of the gRPC listener [default: 127.0.0.1:5555]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l public-url -d 'The URL under which browsers reach the HTTP listener, when a proxy stands in front of it' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l cors-origin -d 'Origins (scheme, host and port, compared exactly) whose pages may call the API with the user\'s cookie' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l trusted-proxy -d 'Networks of the reverse proxies whose forwarding headers are believed, such as 10.0.0.0/8' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l request-timeout -d 'The longest that a call may take; streams are exempt [default: 30s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l shutdown-timeout -d 'How long a stopping server waits for the calls that still run [default: 20s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l data-dir -d 'Where the embedded database and the keyring live. Made with mode 0700 when it does not exist [default: ./chorus-data]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l keys -d 'The keyring with the keys that sign tokens and seal secrets. Back it up: sealed data is lost with it [default: the file `keys` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l database-url -d 'The database: postgres://USER:PASSWORD@HOST/NAME, or sqlite:FILE [default: the SQLite file `chorus.db` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l database-max-connections -d 'The most connections to the database that this process opens [default: 10]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l migrate -d 'Bring the database schema up to date at start [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l admin-username -d 'User name of the administrator that the first start creates [default: chorus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l admin-password-file -d 'File with the password of that administrator. Without it, a random one is printed once' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l session-idle-timeout -d 'A session ends when it was not used for this long [default: 12h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l session-max-lifetime -d 'A session ends this long after the sign-in, however much it is used. At most 366 days [default: 7d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l token-max-lifetime -d 'The longest that an API token may be made for. Tokens that exist keep the end that they were made with [default: 365d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l cookie-secure -d 'Whether browsers send the session cookie over TLS only. `auto`: yes, unless the listener is plain HTTP on loopback [one of: auto, always, never] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l cookie-same-site -d 'The SameSite attribute of the session cookie [one of: lax, strict, none] [default: lax]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l public-registration -d 'Whether anybody may create an account without being signed in [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l registration-tenant -d 'Tenant of accounts that register themselves; the default tenant when not set' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l require-email -d 'Whether every user needs an e-mail address [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l workspace-admin-can-assign-data-manager -d 'Whether the administrator of a workspace may appoint its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l runtime -d 'What runs the desktops. `local`: processes on this host, without isolation, for evaluation. `auto`: local with the embedded database, loopback listeners, outside a cluster and with xpra installed; none otherwise [one of: auto, none, local, kubernetes] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l insecure-local-runtime -d 'Let the local runtime run although this server listens beyond loopback. Its desktops are not isolated [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l metrics -d 'Whether the HTTP listener answers /metrics for Prometheus [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l local-dir -d 'Where the local runtime keeps the files of desktops. Those of root\'s desktops, which do not run as root, are not in the data directory, which is closed to them [default: `desktops` in the data directory; for root a folder in /var/lib/chorus-desktops]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l local-user -d 'The Unix user that the local runtime\'s desktops run as when the server runs as root. They never run as root [default: nobody]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l local-app -d 'Which command an app runs in the local runtime, by the name of its image: apps/editor=mousepad. A command with arguments is split at white space' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l local-unattended-timeout -d 'A desktop of the local runtime ends when no server asked for it for this long [default: 10m]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l workbench-idle-timeout -d 'A workbench that nobody used for this long is stopped; its files stay. `0s`: never [default: 24h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l workbench-idle-warning -d 'How long before that its owner is told. `0s`: not at all [default: 1h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l workbench-max-age -d 'A workbench that was created this long ago is deleted with its files. `0s`: never [default: 0s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l workbench-wake-on-open -d 'Whether opening a workbench starts it again when it was stopped because nobody used it [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l workspace-creator-is-admin -d 'Whether who creates a workspace becomes its administrator [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l workspace-creator-is-data-manager -d 'Whether who creates a workspace becomes its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l workspace-gid-offset -d 'Added to the id of a workspace to form its Unix group id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l user-uid-offset -d 'Added to the id of a user to form the Unix user id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l operator -d 'Whether `chorus serve` runs the Kubernetes operator in its process [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -l check -d 'Change nothing; fail when a migration is pending'
complete -c chorus -n "__fish_chorus_using_subcommand migrate" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and not __fish_seen_subcommand_from rotate status" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and not __fish_seen_subcommand_from rotate status" -f -a "rotate" -d 'Replace the keys that sign session tokens and seal secrets, and seal everything anew'
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and not __fish_seen_subcommand_from rotate status" -f -a "status" -d 'Show the keys: their ids, what they are for, since when, and how many values each seals'
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l listen -d 'Address and port of the HTTP listener: REST, gRPC-web, documentation, metrics, health [default: 127.0.0.1:5000]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l grpc-listen -d 'Address and port of the gRPC listener [default: 127.0.0.1:5555]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l public-url -d 'The URL under which browsers reach the HTTP listener, when a proxy stands in front of it' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l cors-origin -d 'Origins (scheme, host and port, compared exactly) whose pages may call the API with the user\'s cookie' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l trusted-proxy -d 'Networks of the reverse proxies whose forwarding headers are believed, such as 10.0.0.0/8' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l request-timeout -d 'The longest that a call may take; streams are exempt [default: 30s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l shutdown-timeout -d 'How long a stopping server waits for the calls that still run [default: 20s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l data-dir -d 'Where the embedded database and the keyring live. Made with mode 0700 when it does not exist [default: ./chorus-data]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l keys -d 'The keyring with the keys that sign tokens and seal secrets. Back it up: sealed data is lost with it [default: the file `keys` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l database-url -d 'The database: postgres://USER:PASSWORD@HOST/NAME, or sqlite:FILE [default: the SQLite file `chorus.db` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l database-max-connections -d 'The most connections to the database that this process opens [default: 10]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l migrate -d 'Bring the database schema up to date at start [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l admin-username -d 'User name of the administrator that the first start creates [default: chorus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l admin-password-file -d 'File with the password of that administrator. Without it, a random one is printed once' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l session-idle-timeout -d 'A session ends when it was not used for this long [default: 12h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l session-max-lifetime -d 'A session ends this long after the sign-in, however much it is used. At most 366 days [default: 7d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l token-max-lifetime -d 'The longest that an API token may be made for. Tokens that exist keep the end that they were made with [default: 365d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l cookie-secure -d 'Whether browsers send the session cookie over TLS only. `auto`: yes, unless the listener is plain HTTP on loopback [one of: auto, always, never] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l cookie-same-site -d 'The SameSite attribute of the session cookie [one of: lax, strict, none] [default: lax]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l public-registration -d 'Whether anybody may create an account without being signed in [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l registration-tenant -d 'Tenant of accounts that register themselves; the default tenant when not set' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l require-email -d 'Whether every user needs an e-mail address [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l workspace-admin-can-assign-data-manager -d 'Whether the administrator of a workspace may appoint its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l runtime -d 'What runs the desktops. `local`: processes on this host, without isolation, for evaluation. `auto`: local with the embedded database, loopback listeners, outside a cluster and with xpra installed; none otherwise [one of: auto, none, local, kubernetes] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l insecure-local-runtime -d 'Let the local runtime run although this server listens beyond loopback. Its desktops are not isolated [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l metrics -d 'Whether the HTTP listener answers /metrics for Prometheus [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l local-dir -d 'Where the local runtime keeps the files of desktops. Those of root\'s desktops, which do not run as root, are not in the data directory, which is closed to them [default: `desktops` in the data directory; for root a folder in /var/lib/chorus-desktops]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l local-user -d 'The Unix user that the local runtime\'s desktops run as when the server runs as root. They never run as root [default: nobody]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l local-app -d 'Which command an app runs in the local runtime, by the name of its image: apps/editor=mousepad. A command with arguments is split at white space' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l local-unattended-timeout -d 'A desktop of the local runtime ends when no server asked for it for this long [default: 10m]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l workbench-idle-timeout -d 'A workbench that nobody used for this long is stopped; its files stay. `0s`: never [default: 24h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l workbench-idle-warning -d 'How long before that its owner is told. `0s`: not at all [default: 1h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l workbench-max-age -d 'A workbench that was created this long ago is deleted with its files. `0s`: never [default: 0s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l workbench-wake-on-open -d 'Whether opening a workbench starts it again when it was stopped because nobody used it [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l workspace-creator-is-admin -d 'Whether who creates a workspace becomes its administrator [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l workspace-creator-is-data-manager -d 'Whether who creates a workspace becomes its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l workspace-gid-offset -d 'Added to the id of a workspace to form its Unix group id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l user-uid-offset -d 'Added to the id of a user to form the Unix user id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l operator -d 'Whether `chorus serve` runs the Kubernetes operator in its process [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l prepare -d 'Only add the new keys to the file: copy it to every other server, then run this again without --prepare'
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -l drop-old -d 'Make no new keys, but drop the retired ones now; sessions whose tokens they signed end'
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l listen -d 'Address and port of the HTTP listener: REST, gRPC-web, documentation, metrics, health [default: 127.0.0.1:5000]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l grpc-listen -d 'Address and port of the gRPC listener [default: 127.0.0.1:5555]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l public-url -d 'The URL under which browsers reach the HTTP listener, when a proxy stands in front of it' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l cors-origin -d 'Origins (scheme, host and port, compared exactly) whose pages may call the API with the user\'s cookie' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l trusted-proxy -d 'Networks of the reverse proxies whose forwarding headers are believed, such as 10.0.0.0/8' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l request-timeout -d 'The longest that a call may take; streams are exempt [default: 30s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l shutdown-timeout -d 'How long a stopping server waits for the calls that still run [default: 20s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l data-dir -d 'Where the embedded database and the keyring live. Made with mode 0700 when it does not exist [default: ./chorus-data]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l keys -d 'The keyring with the keys that sign tokens and seal secrets. Back it up: sealed data is lost with it [default: the file `keys` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l database-url -d 'The database: postgres://USER:PASSWORD@HOST/NAME, or sqlite:FILE [default: the SQLite file `chorus.db` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l database-max-connections -d 'The most connections to the database that this process opens [default: 10]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l migrate -d 'Bring the database schema up to date at start [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l admin-username -d 'User name of the administrator that the first start creates [default: chorus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l admin-password-file -d 'File with the password of that administrator. Without it, a random one is printed once' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l session-idle-timeout -d 'A session ends when it was not used for this long [default: 12h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l session-max-lifetime -d 'A session ends this long after the sign-in, however much it is used. At most 366 days [default: 7d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l token-max-lifetime -d 'The longest that an API token may be made for. Tokens that exist keep the end that they were made with [default: 365d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l cookie-secure -d 'Whether browsers send the session cookie over TLS only. `auto`: yes, unless the listener is plain HTTP on loopback [one of: auto, always, never] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l cookie-same-site -d 'The SameSite attribute of the session cookie [one of: lax, strict, none] [default: lax]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l public-registration -d 'Whether anybody may create an account without being signed in [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l registration-tenant -d 'Tenant of accounts that register themselves; the default tenant when not set' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l require-email -d 'Whether every user needs an e-mail address [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l workspace-admin-can-assign-data-manager -d 'Whether the administrator of a workspace may appoint its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l runtime -d 'What runs the desktops. `local`: processes on this host, without isolation, for evaluation. `auto`: local with the embedded database, loopback listeners, outside a cluster and with xpra installed; none otherwise [one of: auto, none, local, kubernetes] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l insecure-local-runtime -d 'Let the local runtime run although this server listens beyond loopback. Its desktops are not isolated [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l metrics -d 'Whether the HTTP listener answers /metrics for Prometheus [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l local-dir -d 'Where the local runtime keeps the files of desktops. Those of root\'s desktops, which do not run as root, are not in the data directory, which is closed to them [default: `desktops` in the data directory; for root a folder in /var/lib/chorus-desktops]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l local-user -d 'The Unix user that the local runtime\'s desktops run as when the server runs as root. They never run as root [default: nobody]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l local-app -d 'Which command an app runs in the local runtime, by the name of its image: apps/editor=mousepad. A command with arguments is split at white space' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l local-unattended-timeout -d 'A desktop of the local runtime ends when no server asked for it for this long [default: 10m]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l workbench-idle-timeout -d 'A workbench that nobody used for this long is stopped; its files stay. `0s`: never [default: 24h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l workbench-idle-warning -d 'How long before that its owner is told. `0s`: not at all [default: 1h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l workbench-max-age -d 'A workbench that was created this long ago is deleted with its files. `0s`: never [default: 0s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l workbench-wake-on-open -d 'Whether opening a workbench starts it again when it was stopped because nobody used it [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l workspace-creator-is-admin -d 'Whether who creates a workspace becomes its administrator [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l workspace-creator-is-data-manager -d 'Whether who creates a workspace becomes its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l workspace-gid-offset -d 'Added to the id of a workspace to form its Unix group id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l user-uid-offset -d 'Added to the id of a user to form the Unix user id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -l operator -d 'Whether `chorus serve` runs the Kubernetes operator in its process [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand secrets; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand config; and not __fish_seen_subcommand_from show check example" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand config; and not __fish_seen_subcommand_from show check example" -f -a "show" -d 'Print the configuration that `serve` would use with the same flags, files and environment; passwords are redacted'
complete -c chorus -n "__fish_chorus_using_subcommand config; and not __fish_seen_subcommand_from show check example" -f -a "check" -d 'Tell everything that is wrong with the configuration'
complete -c chorus -n "__fish_chorus_using_subcommand config; and not __fish_seen_subcommand_from show check example" -f -a "example" -d 'Print a commented configuration file with every key and its default'
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l listen -d 'Address and port of the HTTP listener: REST, gRPC-web, documentation, metrics, health [default: 127.0.0.1:5000]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l grpc-listen -d 'Address and port of the gRPC listener [default: 127.0.0.1:5555]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l public-url -d 'The URL under which browsers reach the HTTP listener, when a proxy stands in front of it' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l cors-origin -d 'Origins (scheme, host and port, compared exactly) whose pages may call the API with the user\'s cookie' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l trusted-proxy -d 'Networks of the reverse proxies whose forwarding headers are believed, such as 10.0.0.0/8' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l request-timeout -d 'The longest that a call may take; streams are exempt [default: 30s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l shutdown-timeout -d 'How long a stopping server waits for the calls that still run [default: 20s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l data-dir -d 'Where the embedded database and the keyring live. Made with mode 0700 when it does not exist [default: ./chorus-data]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l keys -d 'The keyring with the keys that sign tokens and seal secrets. Back it up: sealed data is lost with it [default: the file `keys` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l database-url -d 'The database: postgres://USER:PASSWORD@HOST/NAME, or sqlite:FILE [default: the SQLite file `chorus.db` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l database-max-connections -d 'The most connections to the database that this process opens [default: 10]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l migrate -d 'Bring the database schema up to date at start [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l admin-username -d 'User name of the administrator that the first start creates [default: chorus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l admin-password-file -d 'File with the password of that administrator. Without it, a random one is printed once' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l session-idle-timeout -d 'A session ends when it was not used for this long [default: 12h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l session-max-lifetime -d 'A session ends this long after the sign-in, however much it is used. At most 366 days [default: 7d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l token-max-lifetime -d 'The longest that an API token may be made for. Tokens that exist keep the end that they were made with [default: 365d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l cookie-secure -d 'Whether browsers send the session cookie over TLS only. `auto`: yes, unless the listener is plain HTTP on loopback [one of: auto, always, never] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l cookie-same-site -d 'The SameSite attribute of the session cookie [one of: lax, strict, none] [default: lax]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l public-registration -d 'Whether anybody may create an account without being signed in [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l registration-tenant -d 'Tenant of accounts that register themselves; the default tenant when not set' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l require-email -d 'Whether every user needs an e-mail address [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l workspace-admin-can-assign-data-manager -d 'Whether the administrator of a workspace may appoint its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l runtime -d 'What runs the desktops. `local`: processes on this host, without isolation, for evaluation. `auto`: local with the embedded database, loopback listeners, outside a cluster and with xpra installed; none otherwise [one of: auto, none, local, kubernetes] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l insecure-local-runtime -d 'Let the local runtime run although this server listens beyond loopback. Its desktops are not isolated [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l metrics -d 'Whether the HTTP listener answers /metrics for Prometheus [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l local-dir -d 'Where the local runtime keeps the files of desktops. Those of root\'s desktops, which do not run as root, are not in the data directory, which is closed to them [default: `desktops` in the data directory; for root a folder in /var/lib/chorus-desktops]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l local-user -d 'The Unix user that the local runtime\'s desktops run as when the server runs as root. They never run as root [default: nobody]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l local-app -d 'Which command an app runs in the local runtime, by the name of its image: apps/editor=mousepad. A command with arguments is split at white space' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l local-unattended-timeout -d 'A desktop of the local runtime ends when no server asked for it for this long [default: 10m]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l workbench-idle-timeout -d 'A workbench that nobody used for this long is stopped; its files stay. `0s`: never [default: 24h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l workbench-idle-warning -d 'How long before that its owner is told. `0s`: not at all [default: 1h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l workbench-max-age -d 'A workbench that was created this long ago is deleted with its files. `0s`: never [default: 0s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l workbench-wake-on-open -d 'Whether opening a workbench starts it again when it was stopped because nobody used it [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l workspace-creator-is-admin -d 'Whether who creates a workspace becomes its administrator [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l workspace-creator-is-data-manager -d 'Whether who creates a workspace becomes its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l workspace-gid-offset -d 'Added to the id of a workspace to form its Unix group id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l user-uid-offset -d 'Added to the id of a user to form the Unix user id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l operator -d 'Whether `chorus serve` runs the Kubernetes operator in its process [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -l sources -d 'Also say where each value comes from'
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Configuration file in YAML; may be repeated, later files win' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l listen -d 'Address and port of the HTTP listener: REST, gRPC-web, documentation, metrics, health [default: 127.0.0.1:5000]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l grpc-listen -d 'Address and port of the gRPC listener [default: 127.0.0.1:5555]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l public-url -d 'The URL under which browsers reach the HTTP listener, when a proxy stands in front of it' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l cors-origin -d 'Origins (scheme, host and port, compared exactly) whose pages may call the API with the user\'s cookie' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l trusted-proxy -d 'Networks of the reverse proxies whose forwarding headers are believed, such as 10.0.0.0/8' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l request-timeout -d 'The longest that a call may take; streams are exempt [default: 30s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l shutdown-timeout -d 'How long a stopping server waits for the calls that still run [default: 20s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l data-dir -d 'Where the embedded database and the keyring live. Made with mode 0700 when it does not exist [default: ./chorus-data]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l keys -d 'The keyring with the keys that sign tokens and seal secrets. Back it up: sealed data is lost with it [default: the file `keys` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l database-url -d 'The database: postgres://USER:PASSWORD@HOST/NAME, or sqlite:FILE [default: the SQLite file `chorus.db` in data_dir]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l database-max-connections -d 'The most connections to the database that this process opens [default: 10]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l migrate -d 'Bring the database schema up to date at start [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l admin-username -d 'User name of the administrator that the first start creates [default: chorus]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l admin-password-file -d 'File with the password of that administrator. Without it, a random one is printed once' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l session-idle-timeout -d 'A session ends when it was not used for this long [default: 12h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l session-max-lifetime -d 'A session ends this long after the sign-in, however much it is used. At most 366 days [default: 7d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l token-max-lifetime -d 'The longest that an API token may be made for. Tokens that exist keep the end that they were made with [default: 365d]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l cookie-secure -d 'Whether browsers send the session cookie over TLS only. `auto`: yes, unless the listener is plain HTTP on loopback [one of: auto, always, never] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l cookie-same-site -d 'The SameSite attribute of the session cookie [one of: lax, strict, none] [default: lax]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l public-registration -d 'Whether anybody may create an account without being signed in [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l registration-tenant -d 'Tenant of accounts that register themselves; the default tenant when not set' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l require-email -d 'Whether every user needs an e-mail address [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l workspace-admin-can-assign-data-manager -d 'Whether the administrator of a workspace may appoint its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l runtime -d 'What runs the desktops. `local`: processes on this host, without isolation, for evaluation. `auto`: local with the embedded database, loopback listeners, outside a cluster and with xpra installed; none otherwise [one of: auto, none, local, kubernetes] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l insecure-local-runtime -d 'Let the local runtime run although this server listens beyond loopback. Its desktops are not isolated [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l log-format -d 'Shape of the log on standard error. `auto`: human on a terminal, JSON otherwise [one of: auto, human, json] [default: auto]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l log-level -d 'What is logged: off, error, warn, info, debug, trace, or a filter such as info,chorus::server=debug [default: info]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l metrics -d 'Whether the HTTP listener answers /metrics for Prometheus [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l local-dir -d 'Where the local runtime keeps the files of desktops. Those of root\'s desktops, which do not run as root, are not in the data directory, which is closed to them [default: `desktops` in the data directory; for root a folder in /var/lib/chorus-desktops]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l local-user -d 'The Unix user that the local runtime\'s desktops run as when the server runs as root. They never run as root [default: nobody]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l local-app -d 'Which command an app runs in the local runtime, by the name of its image: apps/editor=mousepad. A command with arguments is split at white space' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l local-unattended-timeout -d 'A desktop of the local runtime ends when no server asked for it for this long [default: 10m]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l workbench-idle-timeout -d 'A workbench that nobody used for this long is stopped; its files stay. `0s`: never [default: 24h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l workbench-idle-warning -d 'How long before that its owner is told. `0s`: not at all [default: 1h]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l workbench-max-age -d 'A workbench that was created this long ago is deleted with its files. `0s`: never [default: 0s]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l workbench-wake-on-open -d 'Whether opening a workbench starts it again when it was stopped because nobody used it [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l workspace-creator-is-admin -d 'Whether who creates a workspace becomes its administrator [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l workspace-creator-is-data-manager -d 'Whether who creates a workspace becomes its data manager [default: true]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l workspace-gid-offset -d 'Added to the id of a workspace to form its Unix group id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l user-uid-offset -d 'Added to the id of a user to form the Unix user id [default: 0]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -l operator -d 'Whether `chorus serve` runs the Kubernetes operator in its process [default: false]' -r
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand config; and __fish_seen_subcommand_from example" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand version" -s h -l help -d 'Print help'
complete -c chorus -n "__fish_chorus_using_subcommand login" -s u -l username -d 'User name; asked for when missing' -r
complete -c chorus -n "__fish_chorus_using_subcommand login" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand login" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand login" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand login" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand login" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand login" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand login" -l password-stdin -d 'Read the password from the first line of standard input'
complete -c chorus -n "__fish_chorus_using_subcommand login" -l totp-stdin -d 'Read a code of the authenticator app, or a recovery code, from the line after the password; otherwise it is asked for when the account needs one'
complete -c chorus -n "__fish_chorus_using_subcommand login" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand login" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand logout" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand logout" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand logout" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand logout" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand logout" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand logout" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand logout" -l local -d 'Only forget the token here; the session stays open at the server until it expires'
complete -c chorus -n "__fish_chorus_using_subcommand logout" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand logout" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand logout" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand whoami" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand whoami" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand whoami" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand whoami" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand whoami" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand whoami" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand whoami" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand whoami" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand whoami" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand password" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand password" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand password" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand password" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand password" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand password" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand password" -l password-stdin -d 'Read the current and the new password from the first two lines of standard input'
complete -c chorus -n "__fish_chorus_using_subcommand password" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand password" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand password" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -f -a "enroll" -d 'Set up a second factor: a secret for an authenticator app, recovery codes, then a first code'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -f -a "enable" -d 'Turn the second factor on with a code of the app; your other sessions end'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and not __fish_seen_subcommand_from enroll enable disable" -f -a "disable" -d 'Turn the second factor off; its secret and recovery codes are void, your other sessions end'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -l password-stdin -d 'Read the password from the first line of standard input'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -l totp-stdin -d 'Read a code of the second factor that is on, or a recovery code, from the next line of standard input'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -l qr -d 'Print the QR code also when standard output is no terminal'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -l yes -d 'Replace a second factor that is on without asking'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enroll" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enable" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enable" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enable" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enable" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enable" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enable" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enable" -l code-stdin -d 'Read the code from the first line of standard input'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enable" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enable" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -l password-stdin -d 'Read the password from the first line of standard input'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -l totp-stdin -d 'Read a code of the second factor that is on, or a recovery code, from the next line of standard input'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -l yes -d 'Do not ask'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand totp; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -f -a "list" -d 'List users'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -f -a "get" -d 'Show one user'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -f -a "create" -d 'Create a user'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -f -a "create-service" -d 'Create a service account, for programs'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -f -a "update" -d 'Change names, e-mail address or status of a user'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -f -a "delete" -d 'Delete a user: sessions end, roles are taken away, the account cannot come back'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -f -a "disable" -d 'Lock a user out; sessions end at once'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -f -a "enable" -d 'Let a disabled user sign in again'
complete -c chorus -n "__fish_chorus_using_subcommand user; and not __fish_seen_subcommand_from list get create create-service update delete disable enable reset-password" -f -a "reset-password" -d 'Give a user a temporary password, and turn the second factor off'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l search -d 'Only users whose names contain this text' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l workspace -d 'Only members of this workspace; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l workbench -d 'Only members of this workbench: id, name, or WORKSPACE/NAME; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l id -d 'Only the user with this id; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l sort -d 'Field to sort by' -r -f -a "id\t''
username\t''
firstname\t''
lastname\t''
email\t''
status\t''
createdat\t''"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l limit -d 'Show at most this many' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l desc -d 'Largest first, newest first, Z to A'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from get" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from get" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from get" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from get" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from get" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from get" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from get" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from get" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l first-name -d 'Given name' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l last-name -d 'Family name' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l email -d 'E-mail address' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l status -d 'Whether the user can sign in' -r -f -a "active\t''
disabled\t''"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l password-stdin -d 'Read the password from the first line of standard input'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l generate-password -d 'Make a strong password and show it once, with the new user'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create-service" -l display-name -d 'What people read in lists; the user name when not stated' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create-service" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create-service" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create-service" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create-service" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create-service" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create-service" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create-service" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create-service" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from create-service" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -l username -d 'New user name' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -l first-name -d 'New given name' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -l last-name -d 'New family name' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -l email -d 'New e-mail address; empty to remove it' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -l status -d 'Whether the user can sign in' -r -f -a "active\t''
disabled\t''"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from update" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from delete" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from delete" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from delete" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from delete" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from delete" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from delete" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from delete" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from delete" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from disable" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from disable" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from disable" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from disable" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from disable" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from disable" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from disable" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from disable" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from enable" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from enable" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from enable" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from enable" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from enable" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from enable" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from enable" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from enable" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from enable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from reset-password" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from reset-password" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from reset-password" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from reset-password" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from reset-password" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from reset-password" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from reset-password" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from reset-password" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand user; and __fish_seen_subcommand_from reset-password" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "create" -d 'Make a token; it is shown once'
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "list" -d 'List tokens: your own, or those of a user whom you administer'
complete -c chorus -n "__fish_chorus_using_subcommand token; and not __fish_seen_subcommand_from create list revoke" -f -a "revoke" -d 'End a token; it is refused at once'
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -l scope -d 'What it may be used for; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -l expires -d 'When it ends: so long from now, such as 90d or 12h, or a day, such as 2027-01-31' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -l cidr -d 'From where it may be used, such as 192.0.2.0/24; may be repeated; from everywhere when not stated' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -l user -d 'The service account for which it speaks; yourself when not stated' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -l user -d 'Whose tokens; your own when not stated' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -l limit -d 'Show at most this many' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -l all -d 'Also tokens that have expired or were revoked lately'
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -l desc -d 'Largest first, newest first, Z to A'
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from revoke" -l user -d 'Whose token, if it is named; your own when not stated' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from revoke" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from revoke" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from revoke" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from revoke" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from revoke" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from revoke" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from revoke" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -f -a "list" -d 'List the roles that can be granted'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -f -a "show" -d 'Show one role with its permissions'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -f -a "get" -d 'Show one role with its permissions'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -f -a "permissions" -d 'List permissions, all or those of one role'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -f -a "grant" -d 'Give a role to a user'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -f -a "revoke" -d 'Take a role from a user'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -f -a "create" -d 'Define a role out of permissions that you have'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -f -a "update" -d 'Change a role that was created here'
complete -c chorus -n "__fish_chorus_using_subcommand role; and not __fish_seen_subcommand_from list show get permissions grant revoke create update delete" -f -a "delete" -d 'Delete a role that was created here'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from list" -l scope -d 'Only roles of this scope' -r -f -a "system\t''
platform\t''
workspace\t''
workbench\t''"
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from list" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from list" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from list" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from list" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from list" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from show" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from show" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from show" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from show" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from show" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from show" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from show" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from get" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from get" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from get" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from get" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from get" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from get" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from get" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from get" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from permissions" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from permissions" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from permissions" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from permissions" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from permissions" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from permissions" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from permissions" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from permissions" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from permissions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -l workspace -d 'Workspace in which the role applies, by id or name' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -l workbench -d 'Workbench in which the role applies, by id, name, or WORKSPACE/NAME' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -l all-workspaces -d 'The role applies in every workspace'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -l all-workbenches -d 'The role applies in every workbench'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from grant" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -l workspace -d 'Workspace in which the role applies, by id or name' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -l workbench -d 'Workbench in which the role applies, by id, name, or WORKSPACE/NAME' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -l all-workspaces -d 'The role applies in every workspace'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -l all-workbenches -d 'The role applies in every workbench'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -l permission -d 'Permission that the role holds, as in `chorus role permissions`; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -l workspace -d 'Workspace that the role belongs to, by id or name' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -l description -d 'What the role is for' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -l permission -d 'Permission that the role holds; may be repeated, replaces all' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -l add-permission -d 'Permission that the role gets; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -l remove-permission -d 'Permission that the role loses; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -l description -d 'What the role is for' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from update" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from delete" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from delete" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from delete" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from delete" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from delete" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from delete" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from delete" -l revoke-assignments -d 'Take the role from everybody who holds it'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from delete" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from delete" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand role; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -f -a "list" -d 'List the workspaces that you may see'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -f -a "get" -d 'Show one workspace'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -f -a "create" -d 'Create a workspace; you become its administrator'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -f -a "update" -d 'Change a workspace'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -f -a "delete" -d 'Delete a workspace with its workbenches and memberships'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -f -a "public" -d 'List the public workspaces, with the person to ask for access'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and not __fish_seen_subcommand_from list get create update delete public member" -f -a "member" -d 'Manage who belongs to a workspace'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -l id -d 'Only the workspace with this id; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -l search -d 'Only workspaces with this text in name, short name or description' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -l sort -d 'Field to sort by' -r -f -a "id\t''
name\t''
shortname\t''
description\t''
status\t''
ismain\t''
createdat\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -l limit -d 'Show at most this many' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -l desc -d 'Largest first, newest first, Z to A'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from get" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from get" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from get" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from get" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from get" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from get" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from get" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from get" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l short-name -d 'Short form of the name' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l description -d 'What the workspace is for' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l status -d 'Whether the workspace is in use' -r -f -a "active\t''
inactive\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l visibility -d 'Who can find the workspace: its members, or everybody who is signed in' -r -f -a "private\t''
public\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l network-policy -d 'What programs in it may reach: nothing outside, the hosts of --allowed-fqdn, or the Internet' -r -f -a "airgapped\t''
allowlist\t''
open\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l allowed-fqdn -d 'Host that may be reached with the network policy allowlist, such as *.example.org; may be repeated, replaces all' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l clipboard -d 'Which way text may be copied through a desktop\'s clipboard' -r -f -a "disabled\t''
to-server\t''
to-client\t''
both\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l contact -d 'User whom others may ask about the workspace, by id or name' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l main -d 'Whether this is the main workspace of its owner, who has at most one' -r -f -a "true\t''
false\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l no-allowed-fqdns -d 'Empty the list of hosts that may be reached'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l no-contact -d 'Nobody is there to be asked'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l name -d 'New name' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l short-name -d 'Short form of the name' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l description -d 'What the workspace is for' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l status -d 'Whether the workspace is in use' -r -f -a "active\t''
inactive\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l visibility -d 'Who can find the workspace: its members, or everybody who is signed in' -r -f -a "private\t''
public\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l network-policy -d 'What programs in it may reach: nothing outside, the hosts of --allowed-fqdn, or the Internet' -r -f -a "airgapped\t''
allowlist\t''
open\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l allowed-fqdn -d 'Host that may be reached with the network policy allowlist, such as *.example.org; may be repeated, replaces all' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l clipboard -d 'Which way text may be copied through a desktop\'s clipboard' -r -f -a "disabled\t''
to-server\t''
to-client\t''
both\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l contact -d 'User whom others may ask about the workspace, by id or name' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l main -d 'Whether this is the main workspace of its owner, who has at most one' -r -f -a "true\t''
false\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l no-allowed-fqdns -d 'Empty the list of hosts that may be reached'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l no-contact -d 'Nobody is there to be asked'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from update" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from delete" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from delete" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from delete" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from delete" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from delete" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from delete" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from delete" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from delete" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -l search -d 'Only workspaces with this text in name, short name or description' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -l sort -d 'Field to sort by' -r -f -a "id\t''
name\t''
shortname\t''
description\t''
status\t''
ismain\t''
createdat\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -l limit -d 'Show at most this many' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -l desc -d 'Largest first, newest first, Z to A'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from public" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -f -a "list" -d 'List the members with their roles'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -f -a "add" -d 'Give a user a role'
complete -c chorus -n "__fish_chorus_using_subcommand workspace; and __fish_seen_subcommand_from member" -f -a "remove" -d 'Remove a user, or take a role'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -f -a "list" -d 'List the workbenches of the workspaces that you may see'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -f -a "get" -d 'Show one workbench; that does not start one that was stopped for idleness'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -f -a "create" -d 'Create a workbench and start its desktop; you become its administrator'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -f -a "update" -d 'Change name, short name or description of a workbench'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -f -a "delete" -d 'Delete a workbench with its apps and memberships'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -f -a "stop" -d 'Stop the desktop and its apps; files stay'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -f -a "start" -d 'Start a desktop that was stopped'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -f -a "open" -d 'Open the desktop in a browser'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -f -a "watch" -d 'Tell how workbenches are, and then each change, until interrupted'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -f -a "member" -d 'Manage who may use a workbench'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and not __fish_seen_subcommand_from list get create update delete stop start open watch member app" -f -a "app" -d 'Start, stop and watch the apps in a workbench'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -l workspace -d 'Only those of this workspace, by id or name; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -l sort -d 'Field to sort by' -r -f -a "id\t''
userid\t''
workspaceid\t''
name\t''
shortname\t''
status\t''
createdat\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -l limit -d 'Show at most this many' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -l desc -d 'Largest first, newest first, Z to A'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from get" -l workspace -d 'The workspace that it is in, by id or name, where its name alone is not enough' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from get" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from get" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from get" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from get" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from get" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from get" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from get" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from get" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -l workspace -d 'The workspace that it is in, by id or name' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -l short-name -d 'Short form of the name' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -l description -d 'What the workbench is for' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -l resolution -d 'Size of the desktop in pixels when it starts, such as 1920x1080' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -l wait -d 'Wait until the desktop answers; --timeout limits the waiting' -r -f -a "ready\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -l workspace -d 'The workspace that it is in, by id or name, where its name alone is not enough' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -l name -d 'New name' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -l short-name -d 'Short form of the name' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -l description -d 'What the workbench is for' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from update" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from delete" -l workspace -d 'The workspace that it is in, by id or name, where its name alone is not enough' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from delete" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from delete" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from delete" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from delete" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from delete" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from delete" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from delete" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from delete" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from stop" -l workspace -d 'The workspace that it is in, by id or name, where its name alone is not enough' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from stop" -l wait -d 'Wait until the desktop has ended; --timeout limits the waiting' -r -f -a "stopped\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from stop" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from stop" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from stop" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from stop" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from stop" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from stop" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from stop" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from stop" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from start" -l workspace -d 'The workspace that it is in, by id or name, where its name alone is not enough' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from start" -l wait -d 'Wait until the desktop answers; --timeout limits the waiting' -r -f -a "ready\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from start" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from start" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from start" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from start" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from start" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from start" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from start" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from start" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -l workspace -d 'The workspace that it is in, by id or name, where its name alone is not enough' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -l wait -d 'Wait until the desktop answers; --timeout limits the waiting' -r -f -a "ready\t''"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -l print-url -d 'Print the address instead of opening it; it works once, within 30 seconds, and for everybody who has it'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from open" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from watch" -l workspace -d 'Only those of this workspace, by id or name; may be repeated' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from watch" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from watch" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from watch" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from watch" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from watch" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from watch" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from watch" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from watch" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -f -a "list" -d 'List the members with their roles'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -f -a "add" -d 'Give a user a role'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from member" -f -a "remove" -d 'Remove a user, or take a role'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -f -a "list" -d 'List app instances, those that have ended included'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -f -a "start" -d 'Start an app in a workbench'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -f -a "stop" -d 'Stop an app'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -f -a "restart" -d 'Start an app again, whether it runs or has ended'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -f -a "logs" -d 'Show the last lines that an app wrote'
complete -c chorus -n "__fish_chorus_using_subcommand workbench; and __fish_seen_subcommand_from app" -f -a "watch" -d 'Tell how apps are, and then each change, until interrupted'
complete -c chorus -n "__fish_chorus_using_subcommand open" -l workspace -d 'The workspace that it is in, by id or name, where its name alone is not enough' -r
complete -c chorus -n "__fish_chorus_using_subcommand open" -l wait -d 'Wait until the desktop answers; --timeout limits the waiting' -r -f -a "ready\t''"
complete -c chorus -n "__fish_chorus_using_subcommand open" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand open" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand open" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand open" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand open" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand open" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand open" -l print-url -d 'Print the address instead of opening it; it works once, within 30 seconds, and for everybody who has it'
complete -c chorus -n "__fish_chorus_using_subcommand open" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand open" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand open" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -f -a "list" -d 'List the apps, the versions of one image as one'
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -f -a "get" -d 'Show one app; of a name, the newest version'
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -f -a "create" -d 'Add an app'
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -f -a "update" -d 'Change an app; instances that run keep what they were started with'
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -f -a "delete" -d 'Remove an app; instances that run go on'
complete -c chorus -n "__fish_chorus_using_subcommand app; and not __fish_seen_subcommand_from list get create update delete import" -f -a "import" -d 'Add all apps of a file, or none of them'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -l sort -d 'Field to sort by' -r -f -a "id\t''
name\t''
status\t''
dockerimageregistry\t''
dockerimagename\t''
createdat\t''"
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -l limit -d 'Show at most this many' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -l versions -d 'Show every version of an image on a line of its own'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -l desc -d 'Largest first, newest first, Z to A'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from get" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from get" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from get" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from get" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from get" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from get" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from get" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from get" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l image -d 'The image: [REGISTRY/]NAME:TAG' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l description -d 'What the app is good for' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l status -d 'Whether the app can be started' -r -f -a "active\t''
inactive\t''"
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l category -d 'Heading under which the catalogue shows the app' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l stability -d 'How mature the app is' -r -f -a "ready\t''
beta\t''
alpha\t''
off\t''"
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l min-cpu -d 'CPU that is set aside, in cores (2, 0.5) or thousandths (500m)' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l max-cpu -d 'The most CPU' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l min-memory -d 'Memory that is set aside, such as 512Mi' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l max-memory -d 'The most memory, such as 4Gi' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l min-ephemeral-storage -d 'Scratch space that is set aside, such as 1Gi' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l max-ephemeral-storage -d 'The most scratch space, such as 10Gi' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l shm-size -d 'Size of the shared memory, such as 2Gi' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l url -d 'For a web app: the page that the browser in the image opens' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l jwt-url -d 'For a web app that signs the user in: the page that takes the token of the instance' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l jwt-client -d 'For a web app that signs the user in: the OpenID Connect client that the token is made for' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l icon -d 'Address of the icon, or the picture itself as data:image/png;base64,…' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l icon-background -d 'Colour behind the icon, such as #336699' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l name -d 'New name' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l image -d 'The image: [REGISTRY/]NAME:TAG' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l description -d 'What the app is good for' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l status -d 'Whether the app can be started' -r -f -a "active\t''
inactive\t''"
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l category -d 'Heading under which the catalogue shows the app' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l stability -d 'How mature the app is' -r -f -a "ready\t''
beta\t''
alpha\t''
off\t''"
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l min-cpu -d 'CPU that is set aside, in cores (2, 0.5) or thousandths (500m)' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l max-cpu -d 'The most CPU' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l min-memory -d 'Memory that is set aside, such as 512Mi' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l max-memory -d 'The most memory, such as 4Gi' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l min-ephemeral-storage -d 'Scratch space that is set aside, such as 1Gi' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l max-ephemeral-storage -d 'The most scratch space, such as 10Gi' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l shm-size -d 'Size of the shared memory, such as 2Gi' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l url -d 'For a web app: the page that the browser in the image opens' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l jwt-url -d 'For a web app that signs the user in: the page that takes the token of the instance' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l jwt-client -d 'For a web app that signs the user in: the OpenID Connect client that the token is made for' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l icon -d 'Address of the icon, or the picture itself as data:image/png;base64,…' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l icon-background -d 'Colour behind the icon, such as #336699' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from update" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from delete" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from delete" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from delete" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from delete" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from delete" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from delete" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from delete" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from delete" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from import" -s f -l file -d 'The file, in YAML or JSON; - is standard input' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from import" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from import" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from import" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from import" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from import" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from import" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from import" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from import" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand app; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand wait" -l for -d 'Workbench: ready, stopped or deleted. App instance: running or ended' -r -f -a "ready\t''
stopped\t''
deleted\t''
running\t''
ended\t''"
complete -c chorus -n "__fish_chorus_using_subcommand wait" -l workspace -d 'The workspace that a workbench is in, by id or name, where its name alone is not enough' -r
complete -c chorus -n "__fish_chorus_using_subcommand wait" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand wait" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand wait" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand wait" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand wait" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand wait" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand wait" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand wait" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand wait" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand session; and not __fish_seen_subcommand_from list revoke" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and not __fish_seen_subcommand_from list revoke" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and not __fish_seen_subcommand_from list revoke" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand session; and not __fish_seen_subcommand_from list revoke" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand session; and not __fish_seen_subcommand_from list revoke" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and not __fish_seen_subcommand_from list revoke" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand session; and not __fish_seen_subcommand_from list revoke" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand session; and not __fish_seen_subcommand_from list revoke" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand session; and not __fish_seen_subcommand_from list revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand session; and not __fish_seen_subcommand_from list revoke" -f -a "list" -d 'List the sessions that are open, yours or those of a user'
complete -c chorus -n "__fish_chorus_using_subcommand session; and not __fish_seen_subcommand_from list revoke" -f -a "revoke" -d 'End sessions: who uses them has to sign in again'
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -l user -d 'Whose sessions: id or user name; yours without it' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -l sort -d 'Field to sort by' -r -f -a "createdat\t''
lastseenat\t''
expiresat\t''
id\t''"
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -l limit -d 'Show at most this many' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -l desc -d 'Largest first, newest first, Z to A'
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -l user -d 'Whose sessions: id or user name; yours without it' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -l all -d 'End all of them; yours include the one of this command'
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -l others -d 'End all of yours but the one of this command'
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -s y -l yes -d 'Do not ask'
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand session; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and not __fish_seen_subcommand_from list read" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand notification; and not __fish_seen_subcommand_from list read" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand notification; and not __fish_seen_subcommand_from list read" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand notification; and not __fish_seen_subcommand_from list read" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand notification; and not __fish_seen_subcommand_from list read" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand notification; and not __fish_seen_subcommand_from list read" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand notification; and not __fish_seen_subcommand_from list read" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and not __fish_seen_subcommand_from list read" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and not __fish_seen_subcommand_from list read" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and not __fish_seen_subcommand_from list read" -f -a "list" -d 'List your notifications, newest first'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and not __fish_seen_subcommand_from list read" -f -a "read" -d 'Mark notifications as read'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -l sort -d 'Field to sort by' -r -f -a "id\t''
message\t''
createdat\t''"
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -l limit -d 'Show at most this many' -r
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -l unread -d 'Only those that are not read yet'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -l read -d 'Only those that are read'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -l asc -d 'Smallest first, oldest first, A to Z'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from read" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from read" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from read" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from read" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from read" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from read" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from read" -l all -d 'Mark all of them'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from read" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from read" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand notification; and __fish_seen_subcommand_from read" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and not __fish_seen_subcommand_from list export" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and not __fish_seen_subcommand_from list export" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and not __fish_seen_subcommand_from list export" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand audit; and not __fish_seen_subcommand_from list export" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand audit; and not __fish_seen_subcommand_from list export" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and not __fish_seen_subcommand_from list export" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand audit; and not __fish_seen_subcommand_from list export" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and not __fish_seen_subcommand_from list export" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and not __fish_seen_subcommand_from list export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and not __fish_seen_subcommand_from list export" -f -a "list" -d 'List records, newest first'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and not __fish_seen_subcommand_from list export" -f -a "export" -d 'Write all records as newline-delimited JSON, oldest first'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l since -d 'Only records since then: so long ago (90m, 24h, 7d), a day, or a day and a time, in UTC' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l until -d 'Only records until then' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l actor -d 'Only what this user did: the id, the user name as the records show it, or @me' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l user -d 'Only what was done to this user: id, user name, or @me' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l workspace -d 'Only what was done to this workspace: id or name' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l workbench -d 'Only what was done to this workbench: id, name, or WORKSPACE/NAME' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l action -d 'Only this action, such as CreateWorkspace' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l outcome -d 'Only calls that ended like this' -r -f -a "ok\t'It was done'
refused\t'The caller may not'
failed\t'It could not be done'"
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l limit -d 'Show at most this many' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l mine -d 'Only what you did yourself'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l since -d 'Only records since then: so long ago (90m, 24h, 7d), a day, or a day and a time, in UTC' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l until -d 'Only records until then' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l actor -d 'Only what this user did: the id, the user name as the records show it, or @me' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l user -d 'Only what was done to this user: id, user name, or @me' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l workspace -d 'Only what was done to this workspace: id or name' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l workbench -d 'Only what was done to this workbench: id, name, or WORKSPACE/NAME' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l action -d 'Only this action, such as CreateWorkspace' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l outcome -d 'Only calls that ended like this' -r -f -a "ok\t'It was done'
refused\t'The caller may not'
failed\t'It could not be done'"
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l after -d 'Only records after the one with this id: go on where an earlier export ended' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l file -d 'Write to this file, in one step and readable for you only, instead of standard output' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l mine -d 'Only what you did yourself'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand audit; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand server; and not __fish_seen_subcommand_from status" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand server; and not __fish_seen_subcommand_from status" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand server; and not __fish_seen_subcommand_from status" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand server; and not __fish_seen_subcommand_from status" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand server; and not __fish_seen_subcommand_from status" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand server; and not __fish_seen_subcommand_from status" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand server; and not __fish_seen_subcommand_from status" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand server; and not __fish_seen_subcommand_from status" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand server; and not __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c chorus -n "__fish_chorus_using_subcommand server; and not __fish_seen_subcommand_from status" -f -a "status" -d 'Show version, database and runtime of the server; details take the role Healthchecker'
complete -c chorus -n "__fish_chorus_using_subcommand server; and __fish_seen_subcommand_from status" -l server -d 'Address of the server, http://host:port (on this machine) or https://host:port; else the variable CHORUS_SERVER' -r
complete -c chorus -n "__fish_chorus_using_subcommand server; and __fish_seen_subcommand_from status" -l profile -d 'Profile to use instead of the current one; else the variable CHORUS_PROFILE' -r
complete -c chorus -n "__fish_chorus_using_subcommand server; and __fish_seen_subcommand_from status" -l token-file -d 'File with an API token to use instead of the sign-in; only you may be able to read it. Goes before CHORUS_TOKEN' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand server; and __fish_seen_subcommand_from status" -s o -l output -d 'Form of the answer' -r -f -a "table\t'Columns for people'
wide\t'More columns'
json\t'JSON as the REST API has it; stable, for programs'
ndjson\t'The same data, one JSON object per line'
yaml\t'The same data as YAML'
name\t'One `kind/id` per line'"
complete -c chorus -n "__fish_chorus_using_subcommand server; and __fish_seen_subcommand_from status" -l timeout -d 'How long one call may take, such as 500ms or 2m (30s unless stated); where a command waits for something to happen: how long it waits (2m unless stated)' -r
complete -c chorus -n "__fish_chorus_using_subcommand server; and __fish_seen_subcommand_from status" -l ca-file -d 'PEM file with the certificates to trust instead of those of the system' -r -F
complete -c chorus -n "__fish_chorus_using_subcommand server; and __fish_seen_subcommand_from status" -l insecure-plaintext -d 'Talk to another machine without encryption; anybody in between can read the password'
complete -c chorus -n "__fish_chorus_using_subcommand server; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Say which calls are made; twice: with what they ask for. Never shows secrets'
complete -c chorus -n "__fish_chorus_using_subcommand server; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
