import { render } from 'preact';
import { App } from './ui/app.js';
import './ui/style.css';

if (import.meta.env.PROD && 'serviceWorker' in navigator) void navigator.serviceWorker.register('offline.js');
render(<App />, document.getElementById('app') as HTMLElement);
