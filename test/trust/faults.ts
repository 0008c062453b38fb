import { sweepTraining } from './faulty-training.js';
import { faultKinds, type FaultKind } from './faulty-device.js';
const kinds = process.argv[2] ? (process.argv[2].split(',') as FaultKind[]) : faultKinds;
for await (const o of sweepTraining('SGD', Number(process.argv[3] ?? 1), kinds)) {
  console.log(
    o.kind,
    o.at,
    o.fired,
    o.result,
    '|',
    o.message.slice(0, 200).replaceAll('\n', ' // '),
    '|',
    o.faults.join(' ;; ').slice(0, 500),
  );
}
