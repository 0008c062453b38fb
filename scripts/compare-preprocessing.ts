/**
 * Compares what ImageFolder, Resize(256), CenterCrop(224), ToTensor and Normalize make of a folder of images
 * with what Pillow and torchvision make of it:
 *
 *     python3 scripts/compare-preprocessing.py FOLDER /tmp/planes.bin
 *     npx tsx scripts/compare-preprocessing.ts FOLDER /tmp/planes.bin
 *
 * Prints the largest and the mean difference in grey levels (before Normalize) and in normalised units.
 */
import { readFileSync } from 'node:fs';
import { transforms } from '../src/data/index.js';
import { ImageFolder } from '../src/data/node/index.js';

const [folder, planes] = process.argv.slice(2);
if (folder === undefined || planes === undefined) {
  console.error('usage: npx tsx scripts/compare-preprocessing.ts FOLDER PLANES');
  process.exit(2);
}
const std = [0.229, 0.224, 0.225];
const { CenterCrop, Compose, Normalize, Resize, ToTensor } = transforms;
const transform = new Compose([
  new Resize(256),
  new CenterCrop(224),
  new ToTensor(),
  new Normalize([0.485, 0.456, 0.406], std),
]);
const data = new ImageFolder(folder, { transform });
const bytes = readFileSync(planes);
const area = 224 * 224;
const record = 1 + 3 * area;
const expected = new Float32Array(
  bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer,
);
if (expected.length !== data.length * record) {
  throw new Error(`${planes} holds ${expected.length / record} images, the folder ${data.length}`);
}

let most = 0;
let sum = 0;
let levels = 0;
let levelSum = 0;
let different = 0;
let seconds = 0;
for (let i = 0; i < data.length; i++) {
  const start = performance.now();
  const [image, label] = (await data.get(i))!;
  seconds += (performance.now() - start) / 1000;
  if (label !== expected[i * record]) throw new Error(`image ${i} has label ${label} here, another there`);
  for (let j = 0; j < image.data.length; j++) {
    const difference = Math.abs(image.data[j]! - expected[i * record + 1 + j]!);
    const level = difference * std[Math.floor(j / area)]! * 255;
    most = Math.max(most, difference);
    sum += difference;
    levels = Math.max(levels, level);
    levelSum += level;
    if (difference > 0) different++;
  }
}
const count = data.length * 3 * area;
console.log(
  `${data.length} images in ${seconds.toFixed(2)} s (${((1000 * seconds) / data.length).toFixed(1)} ms each)`,
);
console.log(`values that differ: ${different} of ${count}`);
console.log(`grey levels: largest ${levels.toFixed(3)}, mean ${(levelSum / count).toExponential(2)}`);
console.log(`normalised:  largest ${most.toExponential(2)}, mean ${(sum / count).toExponential(2)}`);
