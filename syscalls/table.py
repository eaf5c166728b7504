# SPDX-License-Identifier: Apache-2.0
"""Writes the C source of one table of system calls (run by meson).

table.py TABLE ABI SOURCE FOLDER OUT DEPFILE CC...

TABLE is native, compat or x32; SOURCE is a header of the compiler's (asm/unistd_64.h), the name of a list in FOLDER
(arm-eabi.list), or "none". The names come from the header's macros; their numbers are left to the compiler, so that they
need no evaluation here, and a cross compiler's headers are the target's.
"""
import os
import re
import subprocess
import sys

# Not calls: the number of calls, and where an architecture's own begin.
NOT_CALLS = {'syscalls', 'arch_specific_syscall'}
CATEGORIES = {'file', 'network', 'memory', 'process', 'signal', 'time', 'ipc', 'security', 'system'}
CLASSES = {'other', 'futex', 'sleep', 'disk', 'network', 'fd'}
DENSE = 1024  # numbers from here on are found one by one


def lines(path):
    with open(path, encoding='ascii') as file:
        for number, line in enumerate(file, 1):
            line = line.split('#', 1)[0].strip()
            if line:
                yield f'{path}:{number}', line


def read_categories(path):
    known = {}
    for where, line in lines(path):
        head, _, names = line.partition(':')
        category, block = head.split()
        if category not in CATEGORIES or block not in CLASSES:
            sys.exit(f'{where}: no such category or class: {head}')
        for name in names.split():
            if name in known:
                sys.exit(f'{where}: {name} stands here twice')
            known[name] = category, block
    return known


def read_supplement(path, abi):
    for where, line in lines(path):
        nr, abis, name = line.split()
        if abis == 'all' or abi in abis.split(','):
            yield int(nr), name


def header_names(cc, header, depfile, target):
    command = cc + ['-E', '-dM', '-MD', '-MF', depfile, '-MT', target, '-x', 'c', '-']
    text = subprocess.run(command, input=f'#include <{header}>\n', stdout=subprocess.PIPE, check=True, text=True).stdout
    names = set(re.findall(r'^#define __NR_([a-z0-9_]+) ', text, re.M)) - NOT_CALLS
    if not names:
        sys.exit(f'table.py: {header} names no system calls')
    return sorted(names)


def entry(name, known):
    category, block = known.get(name, ('system', 'other'))
    return f'{{"{name}", DN_SYSCALL_{category.upper()}, DN_BLOCK_{block.upper()}, {str(name in known).lower()}}}'


def numbers(table, abi, source, folder, depfile, out, cc):
    """What comes before the table, and [(number as C, number or None, name)]."""
    supplement = list(read_supplement(os.path.join(folder, 'supplement.list'), abi))
    if source.endswith('.list'):
        calls = {int(line.split()[0]): line.split()[1] for _, line in lines(os.path.join(folder, source))}
        for nr, name in supplement:
            calls.setdefault(nr, name)
        return '', [(str(nr), nr, name) for nr, name in sorted(calls.items())]
    before = '#define __X32_SYSCALL_BIT 0\n' if table == 'x32' else ''
    before += f'#include <{source}>\n'
    names = header_names(cc, source, depfile, out)
    for nr, name in supplement:
        if name not in names:
            before += f'#define __NR_{name} {nr}\n'
            names.append(name)
    return before, [(f'__NR_{name}', None, name) for name in names]


def main():
    table, abi, source, folder, out, depfile, *cc = sys.argv[1:]
    known = read_categories(os.path.join(folder, 'categories.def'))
    with open(depfile, 'w', encoding='ascii') as file:
        file.write(f'{out}:\n')
    before, calls = ('', []) if source == 'none' else numbers(table, abi, source, folder, depfile, out, cc)
    dense = [call for call in calls if call[1] is None or call[1] < DENSE]
    extras = [call for call in calls if call not in dense]
    text = f'/* made by syscalls/table.py from {source} */\n{before}#include "table.h"\n\n'
    fields = [f'.abi = "{abi}"' if calls else '.abi = 0']
    if dense:
        text += 'static const struct dn_syscall_entry entries[] = {\n'
        text += ''.join(f'\t[{nr}] = {entry(name, known)},\n' for nr, _, name in dense) + '};\n\n'
        fields += ['.entries = entries', '.limit = sizeof(entries) / sizeof(*entries)']
    if extras:
        text += 'static const struct dn_syscall_extra extras[] = {\n'
        text += ''.join(f'\t{{{nr}, {entry(name, known)}}},\n' for nr, _, name in extras) + '};\n\n'
        fields += ['.extras = extras', f'.n_extras = {len(extras)}']
    fields.append('.nr_mask = ' + ('0xbfffffff' if table == 'x32' else '0xffffffff'))
    text += f'const struct dn_syscall_table dn_syscall_table_{table} = {{\n'
    text += ''.join(f'\t{field},\n' for field in fields) + '};\n'
    with open(out, 'w', encoding='ascii') as file:
        file.write(text)


main()
