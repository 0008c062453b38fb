import { effect } from '@preact/signals';
import { Classes } from './classes.js';
import { Header } from './header.js';
import { isBusy, notice, phase, start } from './state.js';
import { Training } from './training.js';
import { Trying } from './trying.js';

const supported = 'gpu' in navigator;
if (supported) void start();

/** What had the focus when the page grew busy: it is disabled meanwhile, and gets the focus back. */
let before: Element | null = null;
effect(() => {
  if (isBusy.value) {
    before ??= document.activeElement;
    return;
  }
  const element = before;
  before = null;
  setTimeout(() => {
    if (document.activeElement === document.body && element instanceof HTMLElement) element.focus();
  });
});

export function App() {
  if (!supported) return <CannotStart />;
  if (phase.value.kind === 'failed') return <CannotStart reason={phase.value.text} />;
  return (
    <>
      <Header />
      <main>
        <Classes />
        <Training />
        <Trying />
      </main>
      <p class={notice.value?.bad ? 'notice bad' : 'notice'} role="status" aria-live="polite">
        {notice.value?.text}
      </p>
    </>
  );
}

function CannotStart({ reason }: { reason?: string }) {
  return (
    <main class="none">
      <h1>{reason === undefined ? 'This page needs WebGPU' : 'The page could not start'}</h1>
      {reason === undefined ? (
        <p>It trains a network on your own GPU, and this browser does not give it one.</p>
      ) : (
        <p class="reason">{reason}</p>
      )}
      <ul>
        <li>Chrome and Edge have it on Windows, macOS, ChromeOS and Android; Safari from version 26.</li>
        <li>Firefox has it on Windows, and on macOS with Apple silicon.</li>
        <li>
          On Linux, Chrome needs <code>--enable-unsafe-webgpu</code> <code>--enable-features=Vulkan</code> for
          most GPUs.
        </li>
        <li>The page must come from https: or from localhost.</li>
      </ul>
      <p>
        <button type="button" onClick={() => location.reload()}>
          Try again
        </button>
      </p>
    </main>
  );
}
