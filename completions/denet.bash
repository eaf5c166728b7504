# bash completion for denet, made from its option table; do not edit.
# shellcheck shell=bash disable=SC2207

# Options whose next word is a value.
_denet_takes_value()
{
	case $1 in
	--name|--cmdline|--cgroup|-o|--out|--format|--color|-i|--interval|-m|--max-interval|-d|--duration|--backend|-e|--events|--metrics|--probes|--sample|--max-overhead|--paths|--proc|--sys|--fake) return 0 ;;
	esac
	return 1
}

# Completes the last word of a list $1 by the words $2.
_denet_list()
{
	local head='' word=$1
	[[ $word == *,* ]] && head=${word%,*},
	compopt -o nospace
	COMPREPLY=($(compgen -P "$head" -W "$2" -- "${word##*,}"))
}

_denet_value()
{
	case $1 in
	--name) COMPREPLY=() ;;
	--cmdline) COMPREPLY=() ;;
	--cgroup) compopt -o filenames; COMPREPLY=($(compgen -f -- "$2")) ;;
	-o|--out) compopt -o filenames; COMPREPLY=($(compgen -f -- "$2")) ;;
	--format) COMPREPLY=($(compgen -W 'auto json csv' -- "$2")) ;;
	--color) COMPREPLY=($(compgen -W 'auto always never' -- "$2")) ;;
	-i|--interval) COMPREPLY=() ;;
	-m|--max-interval) COMPREPLY=() ;;
	-d|--duration) COMPREPLY=() ;;
	--backend) COMPREPLY=($(compgen -W 'auto procfs perf ebpf fake' -- "$2")) ;;
	-e|--events) COMPREPLY=() ;;
	--metrics) _denet_list "$2" 'cpu cpu.total_ns cpu.user_ns cpu.system_ns cpu.usage_percent cpu.run_delay_ns cpu.blocked_ns cpu.voluntary_switches cpu.involuntary_switches cpu.migrations memory memory.rss_bytes memory.virtual_bytes memory.swap_bytes memory.pss_bytes memory.peak_rss_bytes memory.peak_tree_rss_bytes memory.minor_faults memory.major_faults io io.read_bytes io.write_bytes io.cancelled_write_bytes io.read_chars io.write_chars io.read_calls io.write_calls network network.rx_bytes network.tx_bytes network.retransmits network.sockets process process.count process.threads process.fds process.started process.exited hw hw.cycles hw.instructions hw.cache_references hw.cache_misses hw.branches hw.branch_misses hw.stalled_cycles_frontend hw.stalled_cycles_backend hw.l1d_loads hw.l1d_misses hw.llc_loads hw.llc_misses hw.dtlb_loads hw.dtlb_misses hw.running_ratio hw.ipc hw.cache_miss_ratio hw.branch_miss_ratio pressure pressure.cpu.some_ns pressure.cpu.full_ns pressure.memory.some_ns pressure.memory.full_ns pressure.io.some_ns pressure.io.full_ns cgroup cgroup.cpu.usage_ns cgroup.cpu.throttled_ns cgroup.cpu.throttled_periods cgroup.memory.current_bytes cgroup.memory.peak_bytes cgroup.memory.failures cgroup.pids.current process process.execs process.threads_started process.exits process.lifetime syscall syscall.count syscall.errors syscall.by_name syscall.by_category syscall.time_ns syscall.latency sched sched.on_cpu_ns sched.run_delay sched.blocked.futex_ns sched.blocked.sleep_ns sched.blocked.disk_ns sched.blocked.network_ns sched.blocked.pipe_ns sched.blocked.other_ns sched.blocked_by_kind file file.read_bytes file.write_bytes file.latency file.by_operation file.by_filesystem file.by_path block block.requests block.errors block.read_bytes block.write_bytes block.latency block.queue block.by_device network network.by_protocol network.connects network.accepts network.failures network.connect_latency network.resets network.rtt network.unix_latency memory memory.faults_user memory.faults_kernel memory.fault_latency memory.major_fault_latency memory.mmap_bytes memory.munmap_bytes memory.brk_bytes memory.kmalloc_bytes memory.kmalloc_calls memory.kfree_calls memory.kmem_cache_bytes memory.kmem_cache_calls memory.kmem_cache_frees memory.shared_bytes memory.reclaims memory.reclaim_ns memory.oom_kills lock lock.futex_waits lock.futex_wait_ns lock.futex_wait lock.by_address lock.kernel_contentions lock.kernel_wait_ns lock.by_type signal signal.generated signal.delivered signal.by_number signal.by_sender limit limit.hits limit.by_call security security.calls security.by_call security.capability_checks security.capability_denials security.by_capability hw hw.by_process' ;;
	--probes) _denet_list "$2" 'all none lifecycle -lifecycle syscalls -syscalls sched -sched latency -latency file -file block -block network -network memory -memory locks -locks signals -signals limits -limits security -security hw -hw' ;;
	--sample) COMPREPLY=() ;;
	--max-overhead) COMPREPLY=() ;;
	--paths) COMPREPLY=() ;;
	--proc) compopt -o filenames; COMPREPLY=($(compgen -d -- "$2")) ;;
	--sys) compopt -o filenames; COMPREPLY=($(compgen -d -- "$2")) ;;
	--fake) compopt -o filenames; COMPREPLY=($(compgen -f -- "$2")) ;;
	esac
}

_denet_options()
{
	case $1 in
	run) echo '--json -j --out -o --format --live --quiet -q --color --interval -i --max-interval -m --duration -d --backend --events -e --metrics --probes --sample --max-overhead --paths --detail --account --per-process --process-events --no-children --no-subreaper --wait-tree --proc --sys --fake --debug --help -h --version -V' ;;
	attach) echo '--name --cmdline --cgroup --json -j --out -o --format --live --quiet -q --color --interval -i --max-interval -m --duration -d --backend --events -e --metrics --probes --sample --max-overhead --paths --detail --account --per-process --process-events --no-children --proc --sys --fake --debug --help -h --version -V' ;;
	stats) echo '--color --json -j --lenient --debug --help -h --version -V' ;;
	doctor) echo '--color --json -j --proc --sys --debug --help -h --version -V' ;;
	metrics) echo '--json -j --markdown --schema --help -h --version -V' ;;
	bpf) echo '--color --json -j --watch -w --help -h --version -V' ;;
	help) echo '--help -h --version -V' ;;
	*) echo '--name --cmdline --cgroup --json -j --out -o --format --live --quiet -q --color --interval -i --max-interval -m --duration -d --backend --events -e --metrics --probes --sample --max-overhead --paths --detail --account --per-process --process-events --no-children --no-subreaper --wait-tree --watch -w --lenient --markdown --schema --proc --sys --fake --debug --help -h --version -V' ;;
	esac
}

_denet()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local command='' word i

	# The shell takes --name=value for three words.
	if [[ $cur == '=' ]]; then
		cur=''
	elif [[ $prev == '=' ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if _denet_takes_value "$word"; then
			[[ ${COMP_WORDS[i + 1]} == '=' ]] && ((i++))
			((i++))
		elif [[ $word == -- && $command == run ]]; then
			_denet_command $((i + 1))
			return
		elif [[ $word != -* && $command == run ]]; then
			_denet_command "$i"
			return
		elif [[ $word != -* && -z $command ]]; then
			command=$word
		fi
	done
	if _denet_takes_value "$prev"; then
		_denet_value "$prev" "$cur"
		return
	fi
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$(_denet_options "$command")" -- "$cur"))
		return
	fi
	case $command in
	run) _denet_command "$COMP_CWORD" ;;
	stats) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")) ;;
	attach) COMPREPLY=($(compgen -W "$(cd /proc && echo [0-9]*)" -- "$cur")) ;;
	'' | help) COMPREPLY=($(compgen -W 'run attach stats doctor metrics bpf help' -- "$cur")) ;;
	esac
}

# The measured command begins at word $1.
_denet_command()
{
	if declare -F _comp_command_offset >/dev/null; then
		_comp_command_offset "$1"
	elif declare -F _command_offset >/dev/null; then
		_command_offset "$1"
	elif (($1 == COMP_CWORD)); then
		COMPREPLY=($(compgen -c -- "${COMP_WORDS[COMP_CWORD]}"))
	else
		compopt -o filenames
		COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
	fi
}

complete -F _denet denet
