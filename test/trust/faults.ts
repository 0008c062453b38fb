/**
 * Makes every call of every kind to the device fail, one at a time, in a short training and in a whole
 * `kindling finetune`, and prints what became of each: node --expose-gc --import tsx test/trust/faults.ts
 * [training|SGD|AdamW|finetune|all] [stride|places] [kind,kind...] [part/parts]
 *
 * A stride of 7 takes calls 1, 8, 15, ...; `places` the first and the last call from each place in the code,
 * which is told by the functions on the stack. Part 2/3 takes the second of every three of those calls of the
 * fine-tuning: each opens devices whose threads stay, so that short processes are faster than a long one. The
 * status is 1 when anything is broken.
 */
import { faultKinds } from './faulty-device.js';
import { cleanUp, disturbedFinetune, finetuneCalls, prepareFinetuning } from './faulty-finetune.js';
import { sweepTraining } from './faulty-training.js';
import { tableOf, type Choice, type Outcome } from './outcome.js';

const [what = 'all', choiceText = '1', kindsText, partText = '1/1'] = process.argv.slice(2);
const choice: Choice = choiceText === 'places' ? choiceText : Number(choiceText);
const kinds = faultKinds.filter((kind) => kindsText === undefined || kindsText.split(',').includes(kind));
const [part = 1, parts = 1] = partText.split('/').map(Number);

async function* sweepFinetune(): AsyncGenerator<Outcome> {
  const tuning = await prepareFinetuning();
  try {
    for (const kind of kinds) {
      const all = await finetuneCalls(kind, choice, tuning);
      const calls = all.filter((_, i) => i % parts === part - 1);
      console.error(`${kind}: ${calls.length} of ${all.length} calls, the last ${all.at(-1)}`);
      for (const at of calls) yield await disturbedFinetune(kind, at, tuning);
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
      (await report(`Three steps of training, ${optimizer}`, sweepTraining(optimizer, choice, kinds))) &&
      sound;
}
if (what === 'finetune' || what === 'all')
  sound = (await report('A whole kindling finetune', sweepFinetune())) && sound;
process.exitCode = sound ? 0 : 1;
