import * as Plot from '@observablehq/plot';
import { useEffect, useRef } from 'preact/hooks';
import type { Epoch } from '../engine/messages.js';
import { history } from './state.js';

interface Point {
  readonly epoch: number;
  readonly value: number;
  readonly of: 'training' | 'held out';
}

function points(epochs: readonly Epoch[], what: 'loss' | 'accuracy'): Point[] {
  return epochs.flatMap((at) => {
    const heldOut = what === 'loss' ? at.heldOutLoss : at.heldOutAccuracy;
    const training: Point = { epoch: at.epoch, value: at[what], of: 'training' };
    return heldOut === null ? [training] : [training, { epoch: at.epoch, value: heldOut, of: 'held out' }];
  });
}

/** Loss and accuracy after each epoch. */
export function Curves() {
  const place = useRef<HTMLDivElement>(null);
  const epochs = history.value;
  useEffect(() => {
    if (!place.current || epochs.length < 2) return;
    const options = {
      width: 320,
      height: 160,
      marginLeft: 40,
      x: { label: 'epoch', ticks: 5, tickFormat: 'd' },
      color: { domain: ['training', 'held out'], range: ['var(--accent)', 'var(--second)'] },
    } as const;
    const lines = (what: 'loss' | 'accuracy') =>
      Plot.lineY(points(epochs, what), { x: 'epoch', y: 'value', stroke: 'of', strokeWidth: 2 });
    const plots = [
      Plot.plot({
        ...options,
        ariaLabel: 'Loss after each epoch',
        y: { label: 'loss', zero: true, ticks: 4 },
        marks: [Plot.ruleY([0], { strokeOpacity: 0.2 }), lines('loss')],
      }),
      Plot.plot({
        ...options,
        ariaLabel: 'Share of right answers after each epoch',
        y: { label: 'right', domain: [0, 1], ticks: 4, tickFormat: '.0%' },
        marks: [Plot.ruleY([0], { strokeOpacity: 0.2 }), lines('accuracy')],
      }),
    ];
    place.current.replaceChildren(...plots);
  }, [epochs]);
  if (epochs.length < 2) return null;
  return (
    <figure class="curves">
      <div ref={place} />
      <figcaption>
        <span class="key training">training</span>
        <span class="key held-out">held out</span>
      </figcaption>
    </figure>
  );
}
