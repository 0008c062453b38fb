import { render } from 'preact';
import { App } from './ui/app.js';
import './ui/style.css';

if (import.meta.env.PROD && 'serviceWorker' in navigator) void navigator.serviceWorker.register('offline.js');
// A file that is dropped beside a place for it would be opened in place of the page.
for (const type of ['dragover', 'drop']) addEventListener(type, (event) => event.preventDefault());
render(<App />, document.getElementById('app') as HTMLElement);
