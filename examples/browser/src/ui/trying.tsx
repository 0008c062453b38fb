import { useSignal } from '@preact/signals';
import { CameraDialog, hasCamera } from './camera-dialog.js';
import { closeDialog } from './dialog.js';
import { DrawDialog } from './draw-dialog.js';
import { DropZone } from './drop-zone.js';
import { FileButton } from './file-button.js';
import { classes, known, percent, phase, tried, tryPicture } from './state.js';
import { Thumbnail } from './thumbnail.js';

export function Trying() {
  const open = useSignal<'draw' | 'camera' | null>(null);
  const disabled = known.value.length === 0 || phase.value.kind === 'busy';
  const first = ([file]: File[]) => file && void tryPicture(file);
  const close = () => (open.value = null);
  const all = classes.value.flatMap(({ pictures }) => pictures);
  return (
    <section aria-labelledby="trying-title">
      <h2 id="trying-title">3 · Try it</h2>
      <DropZone class="card" disabled={disabled} onFiles={first}>
        <div class="row">
          <FileButton label="A file" accept="image/*" disabled={disabled} onFiles={first} />
          <button type="button" disabled={disabled} onClick={() => (open.value = 'draw')}>
            A drawing
          </button>
          {hasCamera && (
            <button type="button" disabled={disabled} onClick={() => (open.value = 'camera')}>
              The camera
            </button>
          )}
          <button
            type="button"
            disabled={disabled || all.length === 0}
            onClick={() => {
              const any = all[Math.floor(Math.random() * all.length)];
              if (any) void tryPicture(any.bitmap);
            }}
          >
            One of these
          </button>
        </div>
        {tried.value === null ? (
          <p class="hint">{disabled ? 'Train first.' : 'Drop a picture here.'}</p>
        ) : (
          <div class="tried">
            <Thumbnail bitmap={tried.value.picture} size={96} label="The picture that was tried" />
            <ol class="confidences">
              {tried.value.confidences.map(({ name, share }) => (
                <li key={name}>
                  <span>{name}</span>
                  <meter value={share} aria-label={name}>
                    {percent(share)}
                  </meter>
                  <span class="share">{percent(share)}</span>
                </li>
              ))}
            </ol>
          </div>
        )}
      </DropZone>
      {open.value === 'draw' && (
        <DrawDialog
          title="Draw something"
          button="Try it"
          onPicture={(canvas) => {
            closeDialog();
            void tryPicture(canvas);
          }}
          onClose={close}
        />
      )}
      {open.value === 'camera' && (
        <CameraDialog onPicture={(video) => void tryPicture(video)} onClose={close} />
      )}
    </section>
  );
}
