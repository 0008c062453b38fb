/** Run by safetensors.test.ts: starts to overwrite a file, says so midway, and never finishes. */
import { HostTensor } from '../../src/formats/index.js';
import { layoutSafetensors } from '../../src/formats/safetensors-writer.js';
import { writeFileAtomically } from '../../src/formats/node-files.js';

async function* halfOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of chunks) {
    yield chunk;
    if (chunk.length > 1_000_000) {
      process.stdout.write('midway\n');
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    }
  }
}

const tensors = new Map([
  ['a', HostTensor.from('float32', [500_000], new Float32Array(500_000).fill(2))],
  ['b', HostTensor.from('float32', [500_000], new Float32Array(500_000).fill(3))],
]);
await writeFileAtomically(process.argv[2]!, halfOf(layoutSafetensors(tensors).chunks()));
