/**
 * Several hosts on one machine: a network namespace each, on a switch (a bridge in one more), with links of a
 * given rate. The kernel's token bucket makes the rate; a delay is made by a process that carries packets
 * between TUN devices (relay.ts), for netem is not in every kernel. Linux, root and iproute2.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface LinkOptions {
  /** Of each host's sending, in Mbit/s; none: as fast as the kernel copies. */
  readonly mbit?: number;
  /** Milliseconds each way. */
  readonly delay?: number;
}

function ran(command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${[command, ...args].join(' ')}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}

/** Why there can be no namespaces here, or null. */
export function whyNoHosts(): string | null {
  const name = `kindling-try-${process.pid}`;
  try {
    ran('ip', 'netns', 'add', name);
    try {
      ran('ip', '-n', name, 'link', 'add', 'name', 'try0', 'type', 'veth', 'peer', 'name', 'try1');
      ran(
        'ip',
        'netns',
        'exec',
        name,
        'tc',
        'qdisc',
        'add',
        'dev',
        'try0',
        'root',
        'tbf',
        'rate',
        '1gbit',
        'burst',
        '1mb',
        'latency',
        '50ms',
      );
    } finally {
      ran('ip', 'netns', 'del', name);
    }
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function killed(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** The interface of each host. */
export const linkName = 'kl0';

export class Hosts implements Disposable {
  readonly names: readonly string[];
  readonly addresses: readonly string[];
  readonly subnet = '10.77.0.0/24';
  /** Starts a command on a host, in place of ssh. */
  readonly agent: string;
  private readonly folder = mkdtempSync(join(tmpdir(), 'kindling-hosts-'));
  private readonly spaces: string[] = [];
  private relay: ChildProcess | null = null;

  private constructor(count: number) {
    const base = `k${process.pid}`;
    this.names = Array.from({ length: count }, (_, i) => `host${i}-${base}`);
    this.addresses = this.names.map((_, i) => `10.77.0.${i + 1}`);
    this.agent = join(this.folder, 'agent.sh');
    const cases = this.addresses.map((address, i) => `${address}) name=${this.names[i]};;`).join(' ');
    writeFileSync(
      this.agent,
      `#!/bin/sh\naddress=$1; shift\ncase $address in ${cases} *) exit 1;; esac\n` +
        'exec ip netns exec $name unshare --uts sh -c "hostname $name; $*"\n',
    );
    chmodSync(this.agent, 0o755);
  }

  static async open(count: number, { mbit, delay = 0 }: LinkOptions, relayFile: string): Promise<Hosts> {
    const hosts = new Hosts(count);
    try {
      for (const name of hosts.names) hosts.space(name);
      if (delay > 0) await hosts.joinByRelay(relayFile, delay);
      else hosts.joinBySwitch();
      hosts.names.forEach((name, i) => {
        ran('ip', '-n', name, 'addr', 'add', `${hosts.addresses[i]}/24`, 'dev', linkName);
        ran('ip', '-n', name, 'link', 'set', linkName, 'up');
        if (mbit !== undefined)
          // Rate times the granularity of timers, and a whole packet of segmentation offload, must fit.
          ran(
            'ip',
            'netns',
            'exec',
            name,
            ...['tc', 'qdisc', 'add', 'dev', linkName, 'root', 'tbf'],
            ...['rate', `${mbit}mbit`, 'burst', `${Math.max(128, mbit / 8)}kb`, 'latency', '100ms'],
          );
      });
      return hosts;
    } catch (error) {
      hosts[Symbol.dispose]();
      throw error;
    }
  }

  private space(name: string): void {
    ran('ip', 'netns', 'add', name);
    this.spaces.push(name);
    ran('ip', '-n', name, 'link', 'set', 'lo', 'up');
  }

  private joinBySwitch(): void {
    const middle = `switch-k${process.pid}`;
    this.space(middle);
    ran('ip', '-n', middle, 'link', 'add', 'br0', 'type', 'bridge');
    ran('ip', '-n', middle, 'link', 'set', 'br0', 'up');
    this.names.forEach((name, i) => {
      const port = `port${i}`;
      ran(
        'ip',
        'link',
        'add',
        linkName,
        'netns',
        name,
        'type',
        'veth',
        'peer',
        'name',
        port,
        'netns',
        middle,
      );
      ran('ip', '-n', middle, 'link', 'set', port, 'master', 'br0', 'up');
    });
  }

  private async joinByRelay(file: string, delay: number): Promise<void> {
    const devices = this.names.map((_, i) => `kt${i}p${process.pid % 100000}`);
    const relay = spawn(process.execPath, [file, String(delay), ...devices], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.relay = relay;
    await new Promise<void>((resolve, reject) => {
      relay.stdout.once('data', () => {
        resolve();
      });
      relay.once('exit', (code) => {
        reject(new Error(`the relay between TUN devices ended with ${code}`));
      });
    });
    this.names.forEach((name, i) => {
      ran('ip', 'link', 'set', devices[i] as string, 'netns', name);
      ran('ip', '-n', name, 'link', 'set', devices[i] as string, 'name', linkName);
      // Large packets: the relay takes as long for a small one.
      ran('ip', '-n', name, 'link', 'set', linkName, 'mtu', '9000', 'txqueuelen', '10000');
    });
  }

  /** Cuts the link of a host. */
  cut(host: number): void {
    ran('ip', '-n', this.names[host] as string, 'link', 'set', linkName, 'down');
  }

  /** The command that runs `command` on the first host. */
  onFirst(command: readonly string[]): string[] {
    const [name = ''] = this.names;
    return [
      'ip',
      'netns',
      'exec',
      name,
      'unshare',
      '--uts',
      'sh',
      '-c',
      `hostname ${name}; exec "$@"`,
      'sh',
      ...command,
    ];
  }

  /** Open MPI's options for a job with a rank on each host. */
  get mpiOptions(): string[] {
    const mca = (name: string, value: string): string[] => ['--mca', name, value];
    return [
      ...mca('plm_rsh_agent', this.agent),
      ...mca('btl', 'tcp,self'),
      ...mca('btl_tcp_if_include', this.subnet),
      ...mca('oob_tcp_if_include', this.subnet),
      // The hosts share cores here: a rank that waits shall not take the others' time.
      ...mca('mpi_yield_when_idle', '1'),
      // The launcher and its daemons notice a broken link after ten minutes by themselves. Before the ranks do, in
      // ten seconds, they must not: they end the ranks without a word.
      ...mca('oob_tcp_keepalive_time', '20'),
      ...mca('oob_tcp_keepalive_intvl', '1'),
      ...mca('oob_tcp_keepalive_probes', '5'),
      ...['--host', this.addresses.map((address) => `${address}:1`).join(',')],
    ];
  }

  [Symbol.dispose](): void {
    this.relay?.kill();
    for (const name of this.spaces) {
      // Daemons of a launcher that were cut off from it.
      const { stdout } = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' });
      for (const pid of stdout.split('\n').filter((line) => line !== '')) killed(Number(pid));
      spawnSync('ip', ['netns', 'del', name]);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
