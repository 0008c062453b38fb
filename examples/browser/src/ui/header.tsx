import { useSignal } from '@preact/signals';
import { trunks, type TrunkName } from '../engine/messages.js';
import { closeDialog, Dialog } from './dialog.js';
import { FileButton } from './file-button.js';
import { adapter, isBusy, known, load, loadTrunk, phase, save, trunk } from './state.js';

export function Header() {
  const choosing = useSignal(false);
  return (
    <header>
      <div class="title">
        <h1>Teach it pictures</h1>
        <p>A few pictures of each class, a pretrained network, your own GPU. Nothing leaves this page.</p>
      </div>
      <div class="tools">
        <button type="button" disabled={isBusy.value} onClick={() => (choosing.value = true)}>
          Network: {trunks[trunk.value].split(',')[0]}
        </button>
        <FileButton
          label="Load"
          accept=".safetensors"
          disabled={isBusy.value}
          onFiles={([file]) => file && void load(file)}
        />
        <button type="button" disabled={isBusy.value || known.value.length === 0} onClick={() => void save()}>
          Save
        </button>
      </div>
      <p class="adapter">{phase.value.kind === 'starting' ? 'Opening the GPU …' : adapter.value}</p>
      {choosing.value && <ChooseTrunk onClose={() => (choosing.value = false)} />}
    </header>
  );
}

function ChooseTrunk({ onClose }: { onClose: () => void }) {
  const name = useSignal<TrunkName>('resnet18');
  return (
    <Dialog title="Another pretrained network" onClose={onClose}>
      <p>
        The small one that comes with the page was trained on simple shapes. For photographs take a file that
        torchvision's users have, such as <code>resnet18-f37072fd.pth</code>; it is read here and sent
        nowhere.
      </p>
      <label>
        It is a
        <select
          value={name.value}
          onChange={(event) => (name.value = event.currentTarget.value as TrunkName)}
        >
          {Object.entries(trunks).map(([key, text]) => (
            <option key={key} value={key}>
              {text.split(',')[0]}
            </option>
          ))}
        </select>
      </label>
      <FileButton
        label="Choose the file"
        accept=".pth,.pt,.safetensors"
        primary
        onFiles={([file]) => {
          closeDialog();
          if (file) void loadTrunk(name.value, file);
        }}
      />
    </Dialog>
  );
}
