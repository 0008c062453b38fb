import { useLayoutEffect, useRef } from 'preact/hooks';
import { Dialog } from './dialog.js';

const side = 256;
const brush = 14;
const step = 8;

interface Properties {
  readonly title: string;
  readonly button: string;
  readonly onPicture: (picture: HTMLCanvasElement) => void;
  readonly onClose: () => void;
}

/** Draws by pointer; by keyboard the arrows move the pen, and draw while Shift is held. */
export function DrawDialog({ title, button, onPicture, onClose }: Properties) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const pen = useRef<[number, number]>([side / 2, side / 2]);
  const context = () => canvas.current?.getContext('2d');

  const clear = () => {
    const pad = context();
    if (!pad) return;
    pen.current = [side / 2, side / 2];
    pad.fillStyle = '#fff';
    pad.fillRect(0, 0, side, side);
    pad.strokeStyle = '#222';
    pad.lineWidth = brush;
    pad.lineCap = 'round';
  };
  useLayoutEffect(clear, []);

  const lineTo = (x: number, y: number, draws: boolean) => {
    const pad = context();
    if (pad && draws) {
      pad.beginPath();
      pad.moveTo(...pen.current);
      pad.lineTo(x, y);
      pad.stroke();
    }
    pen.current = [x, y];
  };
  const place = (event: PointerEvent): [number, number] => {
    const { left, top, width, height } = (event.currentTarget as Element).getBoundingClientRect();
    return [((event.clientX - left) / width) * side, ((event.clientY - top) / height) * side];
  };
  const onKey = (event: KeyboardEvent) => {
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, -step],
      ArrowDown: [0, step],
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const within = (value: number) => Math.min(side, Math.max(0, value));
    lineTo(within(pen.current[0] + move[0]), within(pen.current[1] + move[1]), event.shiftKey);
  };

  return (
    <Dialog title={title} onClose={onClose}>
      <canvas
        ref={canvas}
        class="pad"
        width={side}
        height={side}
        tabIndex={0}
        role="img"
        aria-label="Drawing. Arrow keys move the pen, with Shift they draw."
        onKeyDown={onKey}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          lineTo(...place(event), false);
          lineTo(...pen.current, true);
        }}
        onPointerMove={(event) => {
          if (event.buttons & 1) lineTo(...place(event), true);
        }}
      />
      <div class="row">
        <button
          type="button"
          class="primary"
          onClick={() => {
            if (canvas.current) onPicture(canvas.current);
            clear();
          }}
        >
          {button}
        </button>
        <button type="button" onClick={clear}>
          Clear
        </button>
      </div>
    </Dialog>
  );
}
