import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';

interface Properties {
  readonly class: string;
  readonly disabled?: boolean;
  readonly onFiles: (files: File[]) => void;
  readonly children: ComponentChildren;
}

/** A place where files can be dropped. What it does is also on a button, for those who do not drag. */
export function DropZone({ class: name, disabled = false, onFiles, children }: Properties) {
  const over = useSignal(0);
  return (
    <div
      class={over.value > 0 ? `${name} over` : name}
      onDragEnter={(event) => {
        event.preventDefault();
        over.value++;
      }}
      onDragLeave={() => over.value--}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        over.value = 0;
        if (!disabled) onFiles([...(event.dataTransfer?.files ?? [])]);
      }}
    >
      {children}
    </div>
  );
}
