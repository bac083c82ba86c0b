package org.tinyaya.demo.ui

import org.tinyaya.demo.bundle.Bundle
import org.tinyaya.demo.bundle.BundleImport
import org.tinyaya.demo.bundle.BundleSource
import org.tinyaya.demo.bundle.BundleStore
import org.tinyaya.demo.bundle.ImportProgress
import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.MissingFileError
import org.tinyaya.demo.bundle.RunError
import org.tinyaya.demo.chat.Problem
import org.tinyaya.demo.tokenizer.Tokenizer
import java.io.File
import java.io.IOException
import java.util.concurrent.CancellationException
import java.util.concurrent.Executors

/** Where an import or a check is; [name] is null before the first. */
data class ImportState(
    val name: String? = null,
    val isRunning: Boolean = false,
    val isCheck: Boolean = false,
    val isStopped: Boolean = false,
    val progress: ImportProgress = ImportProgress(0, 0),
    val problem: Problem? = null,
)

/** Imports and checks bundles one at a time, whatever screen is shown. */
class Importer(private val installed: File, private val store: BundleStore) {
    private val worker = Executors.newSingleThreadExecutor()

    @Volatile private var isCancelled = false

    @Volatile var listener: (ImportState) -> Unit = { }

    @Volatile var state = ImportState()
        private set

    /** Copies and proves; goes on with what an earlier run left. */
    fun import(source: () -> BundleSource) =
        start {
            val from = guarded(source)
            val import = BundleImport(installed, from)
            set(ImportState(from.name, isRunning = true))
            val bundle = import.run(installed.usableSpace, { isCancelled }) { set(state.copy(progress = it)) }
            checkTokenizer(bundle)
        }

    /** Hashes the files of a bundle that adb pushed. */
    fun verify(bundle: Bundle) =
        start {
            set(ImportState(bundle.name, isRunning = true, isCheck = true))
            val total = bundle.manifest.totalBytes
            var done = 0L
            store.verify(bundle) { bytes ->
                if (isCancelled) throw CancellationException("the check was stopped")
                done += bytes
                set(state.copy(progress = ImportProgress(done, total)))
            }
            checkTokenizer(bundle)
        }

    /** Whether something was copied that is no bundle yet. */
    fun hasPartial(): Boolean = installed.list()?.any { it.endsWith(BundleImport.PARTIAL) } == true

    /** What was copied stays, for the next time. */
    fun stop() {
        isCancelled = true
    }

    private fun checkTokenizer(bundle: Bundle) {
        Tokenizer.open(bundle.file(Manifest.TOKENIZER), bundle.manifest.tokens.bos).check(bundle.goldenTokens())
    }

    private fun start(work: () -> Unit) {
        if (state.isRunning) return
        isCancelled = false
        set(ImportState(isRunning = true))
        worker.execute {
            try {
                work()
                set(state.copy(isRunning = false))
            } catch (error: RunError) {
                set(state.copy(isRunning = false, problem = Problem.of(error)))
            } catch (_: CancellationException) {
                set(state.copy(isRunning = false, isStopped = true))
            }
        }
    }

    private fun <T> guarded(work: () -> T): T =
        try {
            work()
        } catch (error: IOException) {
            throw MissingFileError("the folder cannot be read (${error.message})", error)
        }

    private fun set(next: ImportState) {
        state = next
        listener(next)
    }
}
