import { useSignal } from '@preact/signals';
import { CameraDialog, hasCamera } from './camera-dialog.js';
import { closeDialog, Dialog } from './dialog.js';
import { DrawDialog } from './draw-dialog.js';
import { DropZone } from './drop-zone.js';
import { FileButton } from './file-button.js';
import {
  addClass,
  addDrawn,
  addFiles,
  classes,
  isBusy,
  makePictures,
  outlines,
  phase,
  removeClass,
  removePicture,
  renameClass,
  useExample,
  type PictureClass,
} from './state.js';
import { Thumbnail } from './thumbnail.js';

export function Classes() {
  return (
    <section aria-labelledby="classes-title">
      <h2 id="classes-title">1 · Pictures</h2>
      {classes.value.length === 0 && (
        <div class="card empty">
          <p>Name two or more classes, and give each a handful of pictures. Or see first how it goes:</p>
          <button type="button" class="primary" disabled={isBusy.value} onClick={() => void useExample()}>
            Use made-up pictures
          </button>
        </div>
      )}
      {classes.value.map((entry) => (
        <ClassCard key={entry.id} entry={entry} />
      ))}
      <div class="row">
        <button type="button" class="add" disabled={isBusy.value} onClick={() => addClass()}>
          Add a class
        </button>
        {phase.value.kind === 'busy' && <span class="muted">{phase.value.text} …</span>}
      </div>
    </section>
  );
}

/** Whoever uses the keyboard goes on beside a picture that goes away. */
function focusBeside(button: HTMLElement): void {
  const item = button.closest('li');
  const beside = item?.nextElementSibling ?? item?.previousElementSibling ?? button.closest('.class');
  beside?.querySelector<HTMLElement>('button.picture, input')?.focus();
}

type Open = 'draw' | 'camera' | 'make' | null;

function ClassCard({ entry }: { entry: PictureClass }) {
  const open = useSignal<Open>(null);
  const { id, name, pictures } = entry;
  const close = () => (open.value = null);
  return (
    <DropZone class="card class" disabled={isBusy.value} onFiles={(files) => void addFiles(id, files)}>
      <div class="class-head">
        <input
          type="text"
          value={name}
          aria-label="Name of the class"
          maxLength={40}
          disabled={isBusy.value}
          onInput={(event) => renameClass(id, event.currentTarget.value)}
        />
        <span class="muted count">{pictures.length}</span>
        <button
          type="button"
          class="quiet"
          aria-label={`Remove the class ${name}`}
          disabled={isBusy.value}
          onClick={(event) => {
            event.currentTarget.closest('section')?.querySelector<HTMLElement>('.add')?.focus();
            removeClass(id);
          }}
        >
          ✕
        </button>
      </div>
      <div class="row">
        <FileButton
          label="Files"
          accept="image/*"
          multiple
          disabled={isBusy.value}
          onFiles={(files) => void addFiles(id, files)}
        />
        <button type="button" disabled={isBusy.value} onClick={() => (open.value = 'draw')}>
          Draw
        </button>
        {hasCamera && (
          <button type="button" disabled={isBusy.value} onClick={() => (open.value = 'camera')}>
            Camera
          </button>
        )}
        <button type="button" disabled={isBusy.value} onClick={() => (open.value = 'make')}>
          Make
        </button>
      </div>
      {pictures.length === 0 ? (
        <p class="hint">Drop pictures here.</p>
      ) : (
        <ul class="pictures">
          {pictures.map((picture, i) => (
            <li key={picture.id}>
              <button
                type="button"
                class="picture"
                disabled={isBusy.value}
                aria-label={`Remove picture ${i + 1} of ${name}`}
                title="Remove"
                onClick={(event) => {
                  focusBeside(event.currentTarget);
                  removePicture(id, picture);
                }}
              >
                <Thumbnail bitmap={picture.bitmap} size={48} label={`${name}, picture ${i + 1}`} />
              </button>
            </li>
          ))}
        </ul>
      )}
      {open.value === 'draw' && (
        <DrawDialog
          title={`Draw ${name}`}
          button="Add it"
          onPicture={(canvas) => void addDrawn(id, canvas)}
          onClose={close}
        />
      )}
      {open.value === 'make' && <MakeDialog entry={entry} onClose={close} />}
      {open.value === 'camera' && (
        <CameraDialog onPicture={(video) => void addDrawn(id, video)} onClose={close} />
      )}
    </DropZone>
  );
}

/** Pictures that the page makes by itself. */
function MakeDialog({ entry, onClose }: { entry: PictureClass; onClose: () => void }) {
  const named = outlines.find((outline) => outline === entry.name.trim().toLowerCase());
  const outline = useSignal(named ?? outlines[0] ?? '');
  return (
    <Dialog title={`Pictures for ${entry.name}`} onClose={onClose}>
      <p>Twelve of one outline, each with its own colours, texture, place and background.</p>
      <label>
        Outline
        <select value={outline.value} onChange={(event) => (outline.value = event.currentTarget.value)}>
          {outlines.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <div class="row">
        <button
          type="button"
          class="primary"
          onClick={() => {
            closeDialog();
            void makePictures(entry.id, outline.value);
          }}
        >
          Make twelve
        </button>
      </div>
    </Dialog>
  );
}
