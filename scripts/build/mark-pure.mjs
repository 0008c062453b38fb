/**
 * Bundlers keep a call whose result nobody uses unless it says that it has no effect. Here none has: what a
 * module's constants are made by (`defineOp({ ... })`, `new Map()`) only makes them, and files that do more
 * than that are listed under `sideEffects` in package.json. So those calls are marked, and an op that a
 * program does not use leaves its bundle.
 */
import ts from 'typescript';

/** @param {ts.Node} node */
const runsLater = (node) =>
  ts.isFunctionLike(node) ||
  (ts.isPropertyDeclaration(node) &&
    !node.modifiers?.some((modifier) => modifier.kind === ts.SyntaxKind.StaticKeyword));

/** @param {ts.Node} node */
function markCalls(node) {
  if (runsLater(node)) return;
  if (ts.isCallExpression(node) || ts.isNewExpression(node)) {
    ts.addSyntheticLeadingComment(node, ts.SyntaxKind.MultiLineCommentTrivia, ' @__PURE__ ');
  }
  ts.forEachChild(node, markCalls);
}

/**
 * Marks the calls in a module's constants and classes; other statements are there for their effect.
 * @type {ts.TransformerFactory<ts.SourceFile>}
 */
export const markPure = () => (file) => {
  for (const statement of file.statements)
    if (ts.isVariableStatement(statement) || ts.isClassDeclaration(statement)) markCalls(statement);
  return file;
};
