package org.tinyaya.demo.ui

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.View
import android.view.WindowManager
import android.widget.Button
import android.widget.ProgressBar
import android.widget.TextView
import org.tinyaya.demo.R
import org.tinyaya.demo.bench.BenchOptions
import org.tinyaya.demo.bench.BenchProgress
import org.tinyaya.demo.bench.BenchReport
import org.tinyaya.demo.bench.BenchSample
import org.tinyaya.demo.bench.BenchSetup
import org.tinyaya.demo.bench.Benchmark
import org.tinyaya.demo.bundle.BundleImport
import org.tinyaya.demo.bundle.JsonWriter
import org.tinyaya.demo.bundle.MissingFileError
import org.tinyaya.demo.bundle.RunError
import org.tinyaya.demo.chat.Problem
import org.tinyaya.demo.model.ThreadPolicy
import java.io.File
import java.io.IOException
import org.tinyaya.demo.bundle.Bundle as ModelBundle

/**
 * Measures one bundle. Texts of the intent: `bundle` (a folder's name), `prompts`, `depths`, `decode`, `rounds`,
 * `cooldown`, `seed`, and `run`, which names the results file and starts at once.
 */
class BenchActivity : Activity() {
    private val words = Words(this)
    private lateinit var demo: DemoApp

    @Volatile private var benchmark: Benchmark? = null

    @Volatile private var isGone = false

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        demo = application as DemoApp
        setContentView(R.layout.bench)
        setTitle(R.string.bench)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        findViewById<Button>(R.id.run).setOnClickListener { if (benchmark == null) start() else benchmark?.stop() }
        if (savedInstanceState == null && intent.hasExtra(RUN)) start()
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        setIntent(intent)
        if (intent.hasExtra(RUN) && benchmark == null) start()
    }

    override fun onDestroy() {
        isGone = true
        benchmark?.stop()
        super.onDestroy()
    }

    private fun start() {
        val run = BundleImport.plainName(intent.getStringExtra(RUN) ?: "run")
        val texts = KEYS.associateWith { intent.getStringExtra(it) }
        val name = intent.getStringExtra(BUNDLE).orEmpty()
        demo.chat.unload()
        findViewById<Button>(R.id.run).setText(R.string.stop)
        demo.worker.execute {
            val file = File(getExternalFilesDir("bench") ?: filesDir, "$run.json")
            file.delete()
            val text =
                try {
                    measure(find(name), texts)
                } catch (error: RunError) {
                    runOnUiThread { findViewById<TextView>(R.id.problem).show(words.problem(Problem.of(error))) }
                    JsonWriter.write(mapOf("error" to error.message))
                }
            write(file, text)
            benchmark = null
            runOnUiThread { findViewById<Button>(R.id.run).setText(R.string.bench_run) }
        }
    }

    private fun find(name: String): ModelBundle =
        demo.store.list().bundles.map { it.bundle }.find { it.name == name }
            ?: throw MissingFileError("there is no bundle '$name'; there are ${demo.store.list().bundles.map { it.bundle.name }}")

    private fun measure(bundle: ModelBundle, texts: Map<String, String?>): String {
        val options = BenchOptions.parse(texts, bundle.manifest.limits.context)
        ModelBundle.open(bundle.folder, checkHashes = true)
        val before = demo.device.residentBytes()
        val threads = ThreadPolicy.threads(demo.device.bigCores, demo.device.heat)
        val started = System.nanoTime()
        demo.loader.load(bundle, threads).use { model ->
            val loadMs = (System.nanoTime() - started) / 1e6
            val running = Benchmark(model, options, demo.device::read, Thread::sleep).also { benchmark = it }
            if (isGone) running.stop()
            val samples = running.run { runOnUiThread { show(it) } }
            runOnUiThread { show(samples) }
            val setup = BenchSetup(bundle.name, bundle.manifest, threads, loadMs, before, demo.device.description())
            return BenchReport.json(setup, samples)
        }
    }

    /** Renamed into place, so that who waits for the file gets a whole one. */
    private fun write(file: File, text: String) {
        try {
            val beside = File(file.path + ".new")
            beside.writeText(text)
            beside.renameTo(file)
            runOnUiThread { findViewById<TextView>(R.id.progress_text).show(getString(R.string.bench_saved, file.path)) }
        } catch (error: IOException) {
            runOnUiThread { findViewById<TextView>(R.id.problem).show(error.message) }
        }
    }

    private fun show(progress: BenchProgress) {
        val done = getString(R.string.bench_progress, progress.done, progress.total)
        val cooling = if (progress.isCooling) "\n" + getString(R.string.bench_cooling) else ""
        findViewById<TextView>(R.id.progress_text).show(done + cooling)
        findViewById<ProgressBar>(R.id.progress).apply {
            visibility = View.VISIBLE
            this.progress = progress.done * 1000 / maxOf(progress.total, 1)
        }
    }

    private fun show(samples: List<BenchSample>) {
        val lines = samples.groupBy { it.case }.map { (case, of) ->
            val rates = of.map { it.tokensPerSecond }
            val ends = listOf(BenchReport.median(rates), rates.min(), rates.max()).map { words.number(it) }
            getString(R.string.bench_row, case.name, ends[0], ends[1], ends[2])
        }
        findViewById<TextView>(R.id.results).text = lines.joinToString("\n")
    }

    companion object {
        const val BUNDLE = "bundle"
        private const val RUN = "run"
        private val KEYS = listOf("prompts", "depths", "decode", "rounds", "cooldown", "seed")
    }
}
