import { defineCommand } from '../command.js';
import type { Context } from '../context.js';
import { CliError } from '../errors.js';
import { json } from '../shared-options.js';

/** What is used of `scripts/driver/install.mjs`, which runs before anything is compiled. */
interface DriverScript {
  ensureAdapter(options: { log: (line: string) => void }): SetUpAdapter;
  describeAdapter(adapter: SetUpAdapter): string;
}

interface SetUpAdapter {
  readonly vendor: string;
  readonly architecture: string;
  readonly description: string;
  readonly software: boolean;
}

/** `kindling setup`: asks for an adapter; where none answers, brings Mesa's software driver or says how. */
async function setup({ output }: Context): Promise<void> {
  // In the package it lies as it does here: beside `dist`, which is `src`.
  const script = new URL('../../../scripts/driver/install.mjs', import.meta.url);
  const { ensureAdapter, describeAdapter } = (await import(script.href)) as DriverScript;
  let adapter: SetUpAdapter;
  try {
    adapter = ensureAdapter({ log: (line) => output.line(line) });
  } catch (cause) {
    throw new CliError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
  output.line(`WebGPU adapter: ${describeAdapter(adapter)}`);
  output.document({ adapter });
}

export const setupCommand = defineCommand({
  name: 'setup',
  help: 'see that a WebGPU adapter answers; install the software Vulkan driver where none does (apt), or say how',
  options: { json },
  examples: [['kindling setup'], ['kindling setup --json', 'the adapter that answers']],
  run: ({ context }) => setup(context),
});
