package org.tinyaya.demo.ui

import android.app.Activity
import android.app.AlertDialog
import android.content.Intent
import android.net.Uri
import android.os.Bundle
import android.view.View
import android.widget.Button
import android.widget.ListView
import android.widget.ProgressBar
import android.widget.TextView
import org.tinyaya.demo.R
import org.tinyaya.demo.bundle.Inventory
import org.tinyaya.demo.chat.Problem
import org.tinyaya.demo.chat.ProblemKind
import java.util.concurrent.Executors

/** The list of bundles, and how to get one onto the phone. */
class BundlesActivity : Activity() {
    private val reader = Executors.newSingleThreadExecutor()
    private val words = Words(this)
    private lateinit var demo: DemoApp
    private lateinit var rows: BundleRows
    private var hasFailedLoad = false

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        demo = application as DemoApp
        setContentView(R.layout.bundles)
        setTitle(R.string.bundles_title)
        rows = BundleRows(this, words, BundleActions(::open, ::bench, ::askDelete))
        findViewById<ListView>(R.id.bundles).adapter = rows
        findViewById<TextView>(R.id.push).text = getString(R.string.welcome_push, "${demo.pushed ?: ""}/")
        findViewById<Button>(R.id.import_folder).setOnClickListener { pick() }
        findViewById<Button>(R.id.import_resume).setOnClickListener { resume() }
        findViewById<Button>(R.id.import_stop).setOnClickListener { demo.importer.stop() }
    }

    override fun onStart() {
        super.onStart()
        hasFailedLoad = demo.guard.failed != null
        demo.importer.listener = { state -> runOnUiThread { show(state) } }
        show(demo.importer.state)
        refresh()
    }

    override fun onStop() {
        demo.importer.listener = { }
        super.onStop()
    }

    override fun onDestroy() {
        reader.shutdown()
        super.onDestroy()
    }

    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        super.onActivityResult(requestCode, resultCode, data)
        val tree = data?.data
        if (requestCode != PICK || resultCode != RESULT_OK || tree == null) return
        contentResolver.takePersistableUriPermission(tree, Intent.FLAG_GRANT_READ_URI_PERMISSION)
        preferences().edit().putString(TREE, tree.toString()).apply()
        import(tree)
    }

    private fun pick() {
        val intent = Intent(Intent.ACTION_OPEN_DOCUMENT_TREE)
        try {
            startActivityForResult(intent, PICK)
        } catch (error: android.content.ActivityNotFoundException) {
            showProblem(Problem(ProblemKind.OTHER, error.message.orEmpty()))
        }
    }

    private fun resume() {
        preferences().getString(TREE, null)?.let { import(Uri.parse(it)) }
    }

    private fun import(tree: Uri) = demo.importer.import { TreeSource(contentResolver, tree) }

    private fun open(row: BundleRow.Usable) {
        if (!row.installed.isVerified) return demo.importer.verify(row.installed.bundle)
        demo.guard.clear()
        startActivity(Intent(this, ChatActivity::class.java).putExtra(ChatActivity.BUNDLE, row.installed.bundle.folder.path))
    }

    private fun bench(row: BundleRow.Usable) {
        startActivity(Intent(this, BenchActivity::class.java).putExtra(BenchActivity.BUNDLE, row.installed.bundle.name))
    }

    private fun askDelete(row: BundleRow) {
        AlertDialog.Builder(this)
            .setMessage(getString(R.string.delete_question, row.folder.name))
            .setNegativeButton(R.string.cancel, null)
            .setPositiveButton(R.string.delete) { _, _ -> delete(row) }
            .show()
    }

    private fun delete(row: BundleRow) {
        if (demo.chat.state.bundle == row.folder.name) demo.chat.unload()
        demo.worker.execute {
            demo.store.delete(row.folder)
            runOnUiThread { refresh() }
        }
    }

    private fun refresh() {
        if (reader.isShutdown) return
        reader.execute {
            val inventory = demo.store.list()
            val found = inventory.bundles.map { BundleRow.Usable.of(it) } + inventory.broken.map { BundleRow.Broken(it) }
            runOnUiThread { show(found, inventory) }
        }
    }

    private fun show(found: List<BundleRow>, inventory: Inventory) {
        rows.set(found)
        val isEmpty = inventory.bundles.isEmpty() && inventory.broken.isEmpty()
        findViewById<View>(R.id.welcome).visibility = if (isEmpty) View.VISIBLE else View.GONE
        findViewById<View>(R.id.bundles).visibility = if (isEmpty) View.GONE else View.VISIBLE
    }

    private fun show(state: ImportState) {
        val progress = state.progress
        val isKnown = progress.totalBytes > 0
        findViewById<TextView>(R.id.progress_text).show(importText(state))
        findViewById<ProgressBar>(R.id.progress).apply {
            visibility = if (state.isRunning) View.VISIBLE else View.GONE
            isIndeterminate = !isKnown
            if (isKnown) this.progress = (progress.doneBytes * 1000 / progress.totalBytes).toInt()
        }
        val canResume = !state.isRunning && !state.isCheck && (state.isStopped || state.problem != null || state.name == null && hasPartial())
        findViewById<View>(R.id.import_folder).visibility = if (state.isRunning) View.GONE else View.VISIBLE
        findViewById<View>(R.id.import_stop).visibility = if (state.isRunning) View.VISIBLE else View.GONE
        findViewById<View>(R.id.import_resume).visibility = if (canResume) View.VISIBLE else View.GONE
        if (!state.isRunning) refresh()
        val crash = demo.guard.failed.takeIf { hasFailedLoad }?.let { Problem(ProblemKind.CRASHED, it) }
        showProblem(state.problem ?: crash)
    }

    /** An import that was under way when the process ended. */
    private fun hasPartial() = preferences().contains(TREE) && demo.importer.hasPartial()

    private fun importText(state: ImportState): String? {
        val name = state.name ?: return null
        val done = words.bytes(state.progress.doneBytes)
        val total = words.bytes(state.progress.totalBytes)
        return when {
            state.isRunning && state.isCheck -> getString(R.string.verify_running, name, done, total)
            state.isRunning -> getString(R.string.import_running, name, done, total)
            state.isStopped -> getString(R.string.import_stopped, name)
            state.problem == null -> getString(R.string.import_done, name)
            else -> null
        }
    }

    private fun showProblem(problem: Problem?) = findViewById<TextView>(R.id.problem).show(problem?.let { words.problem(it) })

    private fun preferences() = getSharedPreferences("import", MODE_PRIVATE)

    private companion object {
        const val PICK = 1
        const val TREE = "tree"
    }
}
