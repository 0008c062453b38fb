/**
 * Reads apt's own source lists to find where this machine takes its Debian archive from, and writes the
 * entry that adds the backports suite of the same archive. Pure functions: text in, text out.
 */

/**
 * One archive that apt knows: a stanza of a `.sources` file or a line of a `.list` file.
 * @typedef {object} AptSource
 * @property {string[]} types e.g. `['deb']`
 * @property {string[]} uris
 * @property {string[]} suites
 * @property {string[]} components
 * @property {Record<string, string>} options how the archive is trusted, under deb822 field names
 */

/**
 * Options that decide whether apt accepts an archive; a new entry for the same archive needs the same ones.
 */
const carriedOptions = new Map([
  ['signed-by', 'Signed-By'],
  ['trusted', 'Trusted'],
  ['arch', 'Architectures'],
  ['architectures', 'Architectures'],
  ['check-valid-until', 'Check-Valid-Until'],
  ['check-date', 'Check-Date'],
  ['allow-insecure', 'Allow-Insecure'],
]);

/** @param {string} text */
const words = (text) => text.split(/\s+/).filter((word) => word !== '');

/**
 * Parses a one-line-style `sources.list` file.
 * @param {string} text
 * @returns {AptSource[]}
 */
export function parseOneLineSources(text) {
  /** @type {AptSource[]} */
  const sources = [];
  for (const raw of text.split('\n')) {
    const match = /^\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(raw);
    if (match === null) continue;
    const [, type = '', optionText = '', uri = '', suite = '', components = ''] = match;
    /** @type {Record<string, string>} */
    const options = {};
    for (const option of words(optionText)) {
      const [key = '', value = ''] = option.split(/=(.*)/s);
      const field = carriedOptions.get(key.toLowerCase());
      if (field !== undefined) options[field] = value.split(',').join(' ');
    }
    sources.push({ types: [type], uris: [uri], suites: [suite], components: words(components), options });
  }
  return sources;
}

/**
 * Parses a deb822-style `.sources` file. Stanzas with `Enabled: no` are left out.
 * @param {string} text
 * @returns {AptSource[]}
 */
export function parseDeb822Sources(text) {
  /** @type {AptSource[]} */
  const sources = [];
  const lines = text.split('\n').filter((line) => !line.startsWith('#'));
  for (const stanza of lines.join('\n').split(/\n[ \t]*\n/)) {
    /** @type {Map<string, string>} */
    const fields = new Map();
    let last = '';
    for (const line of stanza.split('\n')) {
      const field = /^([A-Za-z][A-Za-z0-9-]*):\s*(.*)$/.exec(line);
      if (field !== null) {
        last = (field[1] ?? '').toLowerCase();
        fields.set(last, (field[2] ?? '').trimEnd());
      } else if (/^[ \t]/.test(line) && last !== '') {
        // A continuation line: a key block inside Signed-By keeps its line breaks and their indentation.
        fields.set(last, `${fields.get(last) ?? ''}\n${line.trimEnd()}`);
      }
    }
    if (!fields.has('uris') || /^(no|false|0|off|without|disable)$/i.test(fields.get('enabled') ?? 'yes')) {
      continue;
    }
    /** @type {Record<string, string>} */
    const options = {};
    for (const [key, value] of fields) {
      const field = carriedOptions.get(key);
      if (field !== undefined) options[field] = value;
    }
    sources.push({
      types: words(fields.get('types') ?? ''),
      uris: words(fields.get('uris') ?? ''),
      suites: words(fields.get('suites') ?? ''),
      components: words(fields.get('components') ?? ''),
      options,
    });
  }
  return sources;
}

/**
 * Parses the files that apt reads, by the rules of sources.list(5): names end in `.list` or `.sources`.
 * @param {readonly { name: string, text: string }[]} files
 * @returns {AptSource[]}
 */
export function parseSources(files) {
  return files.flatMap(({ name, text }) => {
    if (name.endsWith('.sources')) return parseDeb822Sources(text);
    return name.endsWith('.list') ? parseOneLineSources(text) : [];
  });
}

/**
 * The deb822 text that adds `<codename>-backports` from the archive that already serves `<codename>`.
 * @param {readonly AptSource[]} sources
 * @param {string} codename e.g. `bookworm`
 * @returns {{ kind: 'present' } | { kind: 'add', text: string } | { kind: 'no-archive' }}
 *   `present` when apt already knows that suite, `no-archive` when no source serves `<codename>` main.
 */
export function backportsEntry(sources, codename) {
  const suite = `${codename}-backports`;
  const binary = sources.filter((source) => source.types.includes('deb'));
  const plain = (/** @type {string} */ name) => name.replace(/\/$/, '');
  if (binary.some((source) => source.suites.some((name) => plain(name) === suite)))
    return { kind: 'present' };
  const archive = binary.find(
    (source) => source.suites.some((name) => plain(name) === codename) && source.components.includes('main'),
  );
  if (archive === undefined) return { kind: 'no-archive' };
  const fields = [
    ['Types', 'deb'],
    ['URIs', archive.uris.join(' ')],
    ['Suites', suite],
    ['Components', 'main'],
    ...Object.entries(archive.options),
  ];
  // A value that starts on the next line (a key block) must not leave a trailing space behind the colon.
  const text = fields.map(([key, value = '']) => `${key}:${value.startsWith('\n') ? '' : ' '}${value}\n`);
  return { kind: 'add', text: text.join('') };
}

/**
 * What to install on the distribution that `/etc/os-release` describes.
 * @param {string} osRelease text of `/etc/os-release`
 * @returns {{ backports: string | null }} the codename whose backports suite is needed, or null
 */
export function driverPlan(osRelease) {
  /** @type {Map<string, string>} */
  const values = new Map();
  for (const line of osRelease.split('\n')) {
    const match = /^([A-Z_]+)=["']?(.*?)["']?$/.exec(line);
    if (match !== null) values.set(match[1] ?? '', match[2] ?? '');
  }
  // Debian 12 ships Mesa 22.3, which Dawn refuses: it lacks the dynamic indexing features Dawn requires.
  const old = values.get('ID') === 'debian' && values.get('VERSION_ID') === '12';
  return { backports: old ? (values.get('VERSION_CODENAME') ?? 'bookworm') : null };
}
