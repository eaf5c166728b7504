# fish completion for denet, made from its option table; do not edit.

# The words of the measured command so far.
function __denet_command_words
    set -l words (commandline -opc)
    set -l subcommand
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case --name --cmdline --cgroup --out -o --format --color --interval -i --max-interval -m --duration -d --backend --events -e --metrics --probes --sample --max-overhead --paths --proc --sys --fake
                set -q words[2]; and set -e words[1]
            case '-*'
            case '*'
                if test "$subcommand" = run
                    printf '%s\n' $words
                    return
                end
                set subcommand $words[1]
        end
        set -e words[1]
    end
end

function __denet_command
    set -l words (__denet_command_words)
    set -l word (commandline -ct)
    test (count $words) -eq 0; and string match -q -- '-*' $word; and return
    complete -C (string join ' ' -- (string escape -- $words) $word)
end

# True before the subcommand, and behind each of those named.
function __denet_takes
    test (count (__denet_command_words)) -eq 0; or return 1
    __fish_use_subcommand; or __fish_seen_subcommand_from $argv
end

function __denet_metrics
    printf '%s\n' cpu cpu.total_ns cpu.user_ns cpu.system_ns cpu.usage_percent cpu.run_delay_ns cpu.blocked_ns cpu.voluntary_switches cpu.involuntary_switches cpu.migrations memory memory.rss_bytes memory.virtual_bytes memory.swap_bytes memory.pss_bytes memory.peak_rss_bytes memory.peak_tree_rss_bytes memory.minor_faults memory.major_faults io io.read_bytes io.write_bytes io.cancelled_write_bytes io.read_chars io.write_chars io.read_calls io.write_calls network network.rx_bytes network.tx_bytes network.retransmits network.sockets process process.count process.threads process.fds process.started process.exited hw hw.cycles hw.instructions hw.cache_references hw.cache_misses hw.branches hw.branch_misses hw.stalled_cycles_frontend hw.stalled_cycles_backend hw.l1d_loads hw.l1d_misses hw.llc_loads hw.llc_misses hw.dtlb_loads hw.dtlb_misses hw.running_ratio hw.ipc hw.cache_miss_ratio hw.branch_miss_ratio pressure pressure.cpu.some_ns pressure.cpu.full_ns pressure.memory.some_ns pressure.memory.full_ns pressure.io.some_ns pressure.io.full_ns cgroup cgroup.cpu.usage_ns cgroup.cpu.throttled_ns cgroup.cpu.throttled_periods cgroup.memory.current_bytes cgroup.memory.peak_bytes cgroup.memory.failures cgroup.pids.current process process.execs process.threads_started process.exits process.lifetime syscall syscall.count syscall.errors syscall.by_name syscall.by_category syscall.time_ns syscall.latency sched sched.on_cpu_ns sched.run_delay sched.blocked.futex_ns sched.blocked.sleep_ns sched.blocked.disk_ns sched.blocked.network_ns sched.blocked.pipe_ns sched.blocked.other_ns sched.blocked_by_kind file file.read_bytes file.write_bytes file.latency file.by_operation file.by_filesystem file.by_path block block.requests block.errors block.read_bytes block.write_bytes block.latency block.queue block.by_device network network.by_protocol network.connects network.accepts network.failures network.connect_latency network.resets network.rtt network.unix_latency memory memory.faults_user memory.faults_kernel memory.fault_latency memory.major_fault_latency memory.mmap_bytes memory.munmap_bytes memory.brk_bytes memory.kmalloc_bytes memory.kmalloc_calls memory.kfree_calls memory.kmem_cache_bytes memory.kmem_cache_calls memory.kmem_cache_frees memory.shared_bytes memory.reclaims memory.reclaim_ns memory.oom_kills lock lock.futex_waits lock.futex_wait_ns lock.futex_wait lock.by_address lock.kernel_contentions lock.kernel_wait_ns lock.by_type signal signal.generated signal.delivered signal.by_number signal.by_sender limit limit.hits limit.by_call security security.calls security.by_call security.capability_checks security.capability_denials security.by_capability hw hw.by_process
end

function __denet_probes
    printf '%s\n' all none lifecycle -lifecycle syscalls -syscalls sched -sched latency -latency file -file block -block network -network memory -memory locks -locks signals -signals limits -limits security -security hw -hw
end

complete -c denet -f
complete -c denet -n __fish_use_subcommand -a run -d 'Launch a command and measure it and all its descendants'
complete -c denet -n __fish_use_subcommand -a attach -d 'Measure processes that run already'
complete -c denet -n __fish_use_subcommand -a stats -d 'Summarise a recorded stream'
complete -c denet -n __fish_use_subcommand -a doctor -d 'Say what can be measured here, and what would unlock the rest'
complete -c denet -n __fish_use_subcommand -a metrics -d 'List all metrics'
complete -c denet -n __fish_use_subcommand -a bpf -d 'List every BPF program, map and link, their cost and owners'
complete -c denet -n __fish_use_subcommand -a help -d 'This overview, or the help of a subcommand'
complete -c denet -n '__fish_seen_subcommand_from run' -xa '(__denet_command)'
complete -c denet -n '__fish_seen_subcommand_from attach' -xa '(__fish_complete_pids)'
complete -c denet -n '__fish_seen_subcommand_from stats' -F
complete -c denet -n '__fish_seen_subcommand_from help' -xa 'run attach stats doctor metrics bpf help'
complete -c denet -n '__denet_takes attach' -l name -x -d 'Every process with this name'
complete -c denet -n '__denet_takes attach' -l cmdline -x -d 'Every process whose command line matches'
complete -c denet -n '__denet_takes attach' -l cgroup -rF -d 'Every process of this cgroup and those below it'
complete -c denet -n '__denet_takes run' -l json -s j -d 'JSON Lines on stdout; CMD\'s stdout goes to stderr'
complete -c denet -n '__denet_takes attach' -l json -s j -d 'JSON Lines on stdout'
complete -c denet -n '__denet_takes run attach' -l out -s o -rF -d 'Write the stream to FILE, fd:N or - (stdout)'
complete -c denet -n '__denet_takes run attach' -l format -xa 'auto json csv' -d 'Of --out:'
complete -c denet -n '__denet_takes run attach' -l live -d 'One updating status line on the terminal'
complete -c denet -n '__denet_takes run attach' -l quiet -s q -d 'No summary and no warnings'
complete -c denet -n '__denet_takes run attach stats doctor bpf' -l color -xa 'auto always never' -d 'Colours:'
complete -c denet -n '__denet_takes run attach' -l interval -s i -x -d 'Sample every MS milliseconds'
complete -c denet -n '__denet_takes run attach' -l max-interval -s m -x -d 'Let the interval grow to this in long runs'
complete -c denet -n '__denet_takes run attach' -l duration -s d -x -d 'Stop measuring after S seconds (1.5 is fine)'
complete -c denet -n '__denet_takes run attach' -l backend -xa 'auto procfs perf ebpf fake' -d 'Tier:'
complete -c denet -n '__denet_takes run attach' -l events -s e -x -d 'Count these hardware events too'
complete -c denet -n '__denet_takes run attach' -l metrics -xa '(__fish_complete_list , __denet_metrics)' -d 'Measure only these'
complete -c denet -n '__denet_takes run attach' -l probes -xa '(__fish_complete_list , __denet_probes)' -d 'Add probe groups, or with -NAME leave some out'
complete -c denet -n '__denet_takes run attach' -l sample -x -d 'Of a group\'s events look at one in N: latency=1/16'
complete -c denet -n '__denet_takes run attach' -l max-overhead -x -d 'Keep what tracing costs below this'
complete -c denet -n '__denet_takes run attach' -l paths -x -d 'Tell the N busiest files by path (group file)'
complete -c denet -n '__denet_takes run attach' -l detail -d 'Histograms and tables in every sample'
complete -c denet -n '__denet_takes run attach' -l account -d 'Measure the run time of BPF programs'
complete -c denet -n '__denet_takes run attach' -l per-process -d 'Every process in each sample'
complete -c denet -n '__denet_takes run attach' -l process-events -d 'A record per fork, exec and exit'
complete -c denet -n '__denet_takes run attach' -l no-children -d 'Only the process itself, not its descendants'
complete -c denet -n '__denet_takes run' -l no-subreaper -d 'Leave orphans to init; what they did may be lost'
complete -c denet -n '__denet_takes run' -l wait-tree -d 'Measure until the last descendant has ended'
complete -c denet -n '__denet_takes stats doctor metrics bpf' -l json -s j -d 'JSON instead of text for people'
complete -c denet -n '__denet_takes bpf' -l watch -s w -d 'Measure, again every MS milliseconds'
complete -c denet -n '__denet_takes stats' -l lenient -d 'Skip lines that are damaged'
complete -c denet -n '__denet_takes metrics' -l markdown -d 'The registry as a Markdown document'
complete -c denet -n '__denet_takes metrics' -l schema -d 'JSON Schema of the stream'
complete -c denet -n '__denet_takes run attach doctor' -l proc -xa '(__fish_complete_directories)' -d 'Read process files here'
complete -c denet -n '__denet_takes run attach doctor' -l sys -xa '(__fish_complete_directories)' -d 'Read system files here'
complete -c denet -n '__denet_takes run attach' -l fake -rF -d 'Script of invented values; sets --backend fake'
complete -c denet -n '__denet_takes run attach stats doctor' -l debug -d 'Tell what denet does, on stderr'
complete -c denet -n '__denet_takes run attach stats doctor metrics bpf help' -l help -s h -d 'This help'
complete -c denet -n '__denet_takes run attach stats doctor metrics bpf help' -l version -s V -d 'Version of denet'
