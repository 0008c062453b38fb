/**
 * Asks Dawn for an adapter and a device and prints what answered as one line of JSON. It runs in a process
 * of its own: a broken driver may abort or hang the process that loads it.
 */
import { writeSync } from 'node:fs';

const { create, globals } = await import('webgpu');
Object.assign(globalThis, globals);
const gpu = create([]);
// dawn.node aborts when this object is collected.
Object.assign(globalThis, { pinnedGpu: gpu });

const adapter = await gpu.requestAdapter();
let answer = null;
if (adapter !== null) {
  const device = await adapter.requestDevice();
  const { vendor, architecture, description } = adapter.info;
  const software = /llvmpipe|swiftshader|software/i.test(`${vendor} ${architecture} ${description}`);
  answer = { vendor, architecture, description, software };
  device.destroy();
}
writeSync(1, `${JSON.stringify(answer)}\n`);
process.exit(0);
