// Tokenises scripts as VS Code does and prints, a line each: the line's number, a piece, and the innermost of its scopes.
//
//   node textmate.js NODE_MODULES GRAMMAR SCRIPT…

const fs = require("fs");
const path = require("path");
const [modules, grammarFile, ...scripts] = process.argv.slice(2);
const { Registry, parseRawGrammar, INITIAL } = require(path.join(modules, "vscode-textmate"));
const oniguruma = require(path.join(modules, "vscode-oniguruma"));

async function main() {
  const wasm = fs.readFileSync(path.join(modules, "vscode-oniguruma/release/onig.wasm"));
  await oniguruma.loadWASM(wasm.buffer.slice(wasm.byteOffset, wasm.byteOffset + wasm.byteLength));
  const registry = new Registry({
    onigLib: Promise.resolve({
      createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
      createOnigString: (text) => new oniguruma.OnigString(text),
    }),
    loadGrammar: async () => parseRawGrammar(fs.readFileSync(grammarFile, "utf8"), grammarFile),
  });
  const grammar = await registry.loadGrammar("source.ltune");
  for (const script of scripts) {
    let rules = INITIAL;
    fs.readFileSync(script, "utf8").split(/\r?\n/).forEach((line, index) => {
      const found = grammar.tokenizeLine(line, rules);
      rules = found.ruleStack;
      for (const token of found.tokens) {
        const piece = line.slice(token.startIndex, token.endIndex);
        if (piece.trim()) console.log(`${index + 1}\t${piece.trim()}\t${token.scopes[token.scopes.length - 1]}`);
      }
    });
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
