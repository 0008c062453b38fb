/**
 * Makes every call of every kind to the device fail, one at a time, in a short training and in a whole
 * `kindling finetune`, and prints what became of each: node --expose-gc --import tsx test/trust/faults.ts
 * [training|SGD|AdamW|finetune|all] [stride] [kind,kind...]
 *
 * A stride of 7 takes calls 1, 8, 15, ... The status is 1 when anything is broken.
 */
import { faultKinds, type FaultKind } from './faulty-device.js';
import { cleanUp, disturbedFinetune, finetuneCalls, prepareFinetuning } from './faulty-finetune.js';
import { sweepTraining } from './faulty-training.js';
import { tableOf, type Outcome } from './outcome.js';

const [what = 'all', strideText = '1', kindsText] = process.argv.slice(2);
const stride = Number(strideText);
const kinds = faultKinds.filter((kind) => kindsText === undefined || kindsText.split(',').includes(kind));

async function* sweepFinetune(): AsyncGenerator<Outcome> {
  const tuning = await prepareFinetuning();
  try {
    const calls = new Map<FaultKind, number>();
    for (const kind of kinds) {
      calls.set(kind, await finetuneCalls(kind, tuning));
      for (let at = 1; at <= (calls.get(kind) ?? 0); at += stride)
        yield await disturbedFinetune(kind, at, tuning);
    }
  } finally {
    cleanUp(tuning);
  }
}

async function report(title: string, sweep: AsyncIterable<Outcome>): Promise<boolean> {
  const outcomes: Outcome[] = [];
  for await (const outcome of sweep) {
    outcomes.push(outcome);
    const { kind, at, result, message, faults } = outcome;
    console.error(
      `${title}: ${kind} ${at}: ${result} | ${message.split('\n')[0] ?? ''} | ${faults.join('; ')}`,
    );
  }
  console.log(`\n${title}\n\n${tableOf(outcomes)}`);
  return outcomes.every(({ result }) => result !== 'broken');
}

let sound = true;
for (const optimizer of ['SGD', 'AdamW'] as const) {
  if (what === 'training' || what === 'all' || what === optimizer)
    sound =
      (await report(`Three steps of training, ${optimizer}`, sweepTraining(optimizer, stride, kinds))) &&
      sound;
}
if (what === 'finetune' || what === 'all')
  sound = (await report('A whole kindling finetune', sweepFinetune())) && sound;
process.exitCode = sound ? 0 : 1;
