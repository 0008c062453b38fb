/**
 * Writes out the methods of Tensor, which src/ops/methods.ts derives from the ops by a mapped type: through
 * one, editors show neither comments nor the names of parameters.
 */
import ts from 'typescript';

/** @type {(node: ts.Node | undefined) => string} the comment before a declaration, as it is written */
const commentOf = (node) =>
  node === undefined ? '' : (ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc).at(-1)?.getText() ?? '');

/** @param {string} comment */
const indented = (comment) => comment.replace(/\n\s*/g, '\n     ');

/** `{ alpha = 1 }` is called what it is where it is shown. @param {ts.ParameterDeclaration} parameter */
function named({ dotDotDotToken, name, questionToken, type }) {
  const shown = ts.isIdentifier(name) ? name : 'options';
  return ts.factory.createParameterDeclaration(undefined, dotDotDotToken, shown, questionToken, type);
}

/** @type {(node: ts.Statement) => node is ts.ImportDeclaration} */
const isNamespaceImport = (node) =>
  ts.isImportDeclaration(node) && node.importClause?.namedBindings?.kind === ts.SyntaxKind.NamespaceImport;

/** @template {ts.Statement} T @param {ts.SourceFile} file @param {(node: ts.Statement) => node is T} test */
function statement(file, test) {
  const found = file.statements.find(test);
  if (found === undefined) throw new Error(`${file.fileName} has not the form that scripts/build expects`);
  return found;
}

/**
 * @param {ts.Program} program
 * @param {string} path of methods.ts
 * @returns {string} its declaration file
 */
export function tensorMethods(program, path) {
  const checker = program.getTypeChecker();
  const file = /** @type {ts.SourceFile} */ (program.getSourceFile(path));
  const printer = ts.createPrinter({ removeComments: true });

  /** @param {ts.Symbol} op */
  function methodsOf(op) {
    const target = op.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(op) : op;
    const comment = target.declarations?.map(commentOf).find((text) => text !== '') ?? '';
    /** @param {ts.Signature} signature */
    const methodOf = (signature) => {
      const { MethodSignature } = ts.SyntaxKind;
      const { NoTruncation } = ts.NodeBuilderFlags;
      const node = checker.signatureToSignatureDeclaration(signature, MethodSignature, file, NoTruncation);
      const { typeParameters, parameters, type } = /** @type {ts.MethodSignature} */ (node);
      const rest = parameters.slice(1).map(named);
      const method = ts.factory.createMethodSignature([], op.name, undefined, typeParameters, rest, type);
      const text = printer.printNode(ts.EmitHint.Unspecified, method, file).replace(/\s+/g, ' ');
      return `${indented(commentOf(signature.declaration) || comment)}\n    ${text}`;
    };
    return checker.getTypeOfSymbol(target).getCallSignatures().map(methodOf);
  }

  const augmentation = statement(file, ts.isModuleDeclaration);
  const [tensor] = /** @type {ts.ModuleBlock} */ (augmentation.body).statements.filter(
    ts.isInterfaceDeclaration,
  );
  const { heritageClauses = [], members } = /** @type {ts.InterfaceDeclaration} */ (tensor);
  const derived = heritageClauses
    .flatMap(({ types }) => types)
    .map((node) => checker.getTypeAtLocation(node));
  const names = new Set(derived.flatMap((type) => type.getProperties()).map(({ name }) => name));
  const table = checker.getSymbolAtLocation(statement(file, isNamespaceImport).moduleSpecifier);
  const ops =
    table === undefined ? [] : checker.getExportsOfModule(table).filter(({ name }) => names.has(name));

  /** @type {Set<string>} */
  const imported = new Set();
  /** Types are imported, so that editors show their names alone. @param {string} text */
  const withNames = (text) =>
    text.replace(/import\("([^"]+)"\)\.(\w+)/g, (_, from, name) => {
      imported.add(`import type { ${name} } from '${from}';`);
      return name;
    });
  const head = file.getFullText().slice(0, file.statements[0]?.getStart());
  const imports = file.statements.filter(ts.isImportDeclaration).map((node) => node.getText());
  const methods = [
    ...members.map((member) => member.getFullText().trim()),
    ...ops.flatMap(methodsOf).map(withNames),
  ];
  return `${head}${[...imports, ...imported].join('\n')}
declare module ${augmentation.name.getText()} {
  interface Tensor {
    ${methods.join('\n    ')}
  }
}
`;
}
