import { Curves } from './curves.js';
import {
  history,
  isBusy,
  isTraining,
  known,
  lastEpoch,
  missing,
  percent,
  phase,
  result,
  settings,
  stop,
  train,
} from './state.js';

export function Training() {
  const why = missing.value;
  return (
    <section aria-labelledby="training-title">
      <h2 id="training-title">2 · Training</h2>
      <div class="card">
        <form
          class="settings"
          onSubmit={(event) => {
            event.preventDefault();
            if (!isBusy.value && why === null) void train();
          }}
        >
          <NumberField label="Epochs" name="epochs" min={1} max={1000} step={1} />
          <NumberField label="Learning rate" name="learningRate" min={0.0001} max={1} step="any" />
          <NumberField label="Batch size" name="batchSize" min={1} max={256} step={1} />
          <div class="row wide">
            {isTraining.value ? (
              <button type="button" class="primary" onClick={() => void stop()}>
                Stop
              </button>
            ) : (
              <button type="submit" class="primary" disabled={isBusy.value || why !== null}>
                {history.value.length > 0 || known.value.length > 0 ? 'Train on' : 'Train'}
              </button>
            )}
            <span class="muted">{!isTraining.value && why}</span>
          </div>
        </form>
        <Progress />
        <Curves />
        <Figures />
      </div>
      <Confusion />
    </section>
  );
}

interface Field {
  readonly label: string;
  readonly name: 'epochs' | 'learningRate' | 'batchSize';
  readonly min: number;
  readonly max: number;
  readonly step: number | 'any';
}

function NumberField({ label, name, min, max, step }: Field) {
  return (
    <label>
      {label}
      <input
        type="number"
        required
        min={min}
        max={max}
        step={step}
        value={settings.value[name]}
        disabled={isBusy.value}
        onInput={(event) => {
          const value = event.currentTarget.valueAsNumber;
          if (Number.isFinite(value)) settings.value = { ...settings.value, [name]: value };
        }}
      />
    </label>
  );
}

function Progress() {
  const now = phase.value;
  if (now.kind === 'looking')
    return (
      <label class="progress">
        Looking at the pictures: {now.done} of {now.of}
        <progress value={now.done} max={now.of} />
      </label>
    );
  if (now.kind !== 'training') return null;
  const epoch = history.value.at(-1)?.epoch ?? 0;
  return (
    <label class="progress">
      Epoch {epoch} of {lastEpoch}
      <progress value={epoch} max={lastEpoch.value} />
    </label>
  );
}

function Figures() {
  const last = history.value.at(-1);
  if (!last) return null;
  const figures: readonly (readonly [string, string])[] = [
    ['Loss', last.loss.toFixed(3)],
    ['Right in training', percent(last.accuracy)],
    ['Right, held out', last.heldOutAccuracy === null ? '–' : percent(last.heldOutAccuracy)],
    ['Step', `${last.stepTime.toFixed(1)} ms`],
    ['GPU memory', `${(last.memory / 1e6).toFixed(1)} MB`],
  ];
  return (
    <dl class="figures">
      {figures.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Confusion() {
  if (result.value === null) return null;
  const { classes, confusion, heldOut } = result.value;
  const judged = heldOut ? 'Held-out pictures' : 'Training pictures (four of a class, and one is held out)';
  return (
    <div class="card">
      <div class="scroll">
        <table class="confusion">
          <caption>{judged}: the class that they are (rows), the class that was found (columns)</caption>
          <thead>
            <tr>
              <td />
              {classes.map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {confusion.map((row, i) => {
              const all = row.reduce((sum, count) => sum + count, 0);
              return (
                <tr key={classes[i]}>
                  <th scope="row">{classes[i]}</th>
                  {row.map((count, j) => (
                    <td
                      key={j}
                      class={i === j ? 'right' : 'wrong'}
                      style={{ '--share': all > 0 ? count / all : 0 }}
                    >
                      {count}
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </div>
  );
}
