// Starts `ltune lsp` for ltune scripts, and starts it anew when it is asked for or when its path changes.

const { commands, window, workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function start() {
  const command = workspace.getConfiguration("ltune").get("path", "ltune");
  const watcher = workspace.createFileSystemWatcher("**/*.ltune");
  client = new LanguageClient(
    "ltune",
    "ltune",
    { command, args: ["lsp"] },
    { documentSelector: [{ language: "ltune" }], synchronize: { fileEvents: watcher } },
  );
  try {
    await client.start();
  } catch (error) {
    window.showErrorMessage(`\`${command} lsp\` does not start: ${error.message}. Set "ltune.path" to where ltune is.`);
  }
}

async function stop() {
  const running = client;
  client = undefined;
  if (running && running.needsStop()) await running.stop();
}

async function restart() {
  await stop();
  await start();
}

async function activate(context) {
  context.subscriptions.push(
    commands.registerCommand("ltune.restart", restart),
    workspace.onDidChangeConfiguration((event) => event.affectsConfiguration("ltune.path") && restart()),
  );
  await start();
}

module.exports = { activate, deactivate: stop };
