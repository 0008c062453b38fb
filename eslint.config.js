import { builtinModules } from 'node:module';
import tseslint from 'typescript-eslint';
import { roomsRule } from './scripts/eslint-rooms.mjs';

/** Files that only Node ever loads; everything else in `src` also runs in a browser. */
const nodeOnly = ['src/cli/**', 'src/distributed/**', 'src/node.ts', 'src/**/node-*.ts', 'src/**/node/**'];

/** `npm test`, but for its full run, leaves out the rules that need types: four fifths of the time. */
const quick = process.env['KINDLING_LINT'] === 'quick';

const notInBrowsers = 'is not there in a browser: import it dynamically, or move this to a node-*.ts file';

export default tseslint.config(
  { ignores: ['**/dist/', 'site/pages/', 'site/declarations/', 'coverage/', '**/.*/', 'node_modules/'] },
  ...tseslint.configs.recommended,
  {
    languageOptions: {
      // One program for the whole run: a fifth faster than the project service, which is made for editors.
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'object-shorthand': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
      ],
      // A class and an interface of one name is how methods from other rooms and call signatures are typed.
      '@typescript-eslint/no-unsafe-declaration-merging': 'off',
      '@typescript-eslint/no-empty-object-type': ['error', { allowInterfaces: 'with-single-extends' }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  // Their packages are their own, so the types are not there.
  {
    files: quick ? ['**/*.{ts,tsx,js,mjs}'] : ['site/**', 'examples/browser/**'],
    ...tseslint.configs.disableTypeChecked,
  },
  {
    files: ['src/**/*.ts'],
    plugins: { kindling: { rules: { rooms: roomsRule } } },
    rules: {
      'kindling/rooms': 'error',
      'max-lines': ['error', 500],
      // In its place, so that signatures stay as they are: `arguments` is counted, or handed to what refuses
      // those too many.
      'prefer-rest-params': 'off',
      'no-restricted-syntax': [
        'error',
        {
          selector:
            'Identifier[name="arguments"]:not(MemberExpression[computed=false] > Identifier):not(CallExpression[callee.name=/^(noMore|checkHook|checkFunction)$/] > Identifier)',
          message: 'Use rest parameters; `arguments` is for its length and for noMore() only.',
        },
      ],
      // prettier sees to the code.
      'max-len': ['error', { code: 1000, comments: 110, ignoreUrls: true }],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: nodeOnly,
    rules: {
      'no-console': 'error',
      'no-restricted-globals': [
        'error',
        // Not `process`: a `typeof process` guard is how the core tells where it runs.
        ...['Buffer', 'require', '__dirname', '__filename'].map((name) => ({
          name,
          message: `${name} is not there in a browser: read it from globalThis and allow for its absence.`,
        })),
      ],
      'no-restricted-imports': [
        'error',
        {
          paths: [...builtinModules, 'webgpu', 'commander', 'cli-progress', 'sharp'].map((name) => ({
            name,
            message: `"${name}" ${notInBrowsers}.`,
          })),
          patterns: [{ group: ['node:*'], message: `A Node module ${notInBrowsers}.` }],
        },
      ],
    },
  },
);
