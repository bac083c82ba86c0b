package org.tinyaya.demo.ui

import android.app.Activity
import android.app.Application
import android.os.Handler
import android.os.Looper
import android.os.PowerManager
import org.tinyaya.demo.R
import org.tinyaya.demo.bundle.BundleStore
import org.tinyaya.demo.bundle.LoadGuard
import org.tinyaya.demo.chat.Chat
import org.tinyaya.demo.chat.ChatEvent
import org.tinyaya.demo.chat.ChatFile
import org.tinyaya.demo.chat.ChatParts
import org.tinyaya.demo.chat.Problem
import org.tinyaya.demo.chat.ProblemKind
import org.tinyaya.demo.chat.Wording
import org.tinyaya.demo.model.Heat
import org.tinyaya.demo.model.LlmStockModule
import org.tinyaya.demo.model.LoaderParts
import org.tinyaya.demo.model.ModelLoader
import org.tinyaya.demo.model.SharedCacheMemory
import java.io.File
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors

/** What outlives screens: the model, the conversation, imports; and when all that must end. */
class DemoApp : Application() {
    private val main = Handler(Looper.getMainLooper())
    private var visibleScreens = 0

    /** The thread on which models live. */
    val worker: ExecutorService = Executors.newSingleThreadExecutor { Thread(null, it, "model", STACK_BYTES) }

    lateinit var device: Device
        private set
    lateinit var store: BundleStore
        private set
    lateinit var guard: LoadGuard
        private set
    lateinit var loader: ModelLoader
        private set
    lateinit var chat: Chat
        private set
    lateinit var importer: Importer
        private set

    /** Where `adb push` puts bundles; null where the phone has no such place now. */
    val pushed: File? get() = getExternalFilesDir("bundles")

    override fun onCreate() {
        super.onCreate()
        val imported = File(noBackupFilesDir, "bundles").also { it.mkdirs() }
        device = Device(this)
        store = BundleStore(imported, pushed, File(noBackupFilesDir, "verified")).also { it.tidy() }
        guard = LoadGuard(File(noBackupFilesDir, "loading"))
        loader = ModelLoader(LoaderParts(guard, device::memory, ::LlmStockModule, ::SharedCacheMemory))
        importer = Importer(imported, store)
        val file = ChatFile(File(noBackupFilesDir, "chat.json"))
        chat = Chat(ChatParts(loader, worker, wording(), device.bigCores, file::save), file.load())
        getSystemService(PowerManager::class.java).addThermalStatusListener(mainExecutor) {
            chat.send(ChatEvent.HeatChanged(Heat.of(it)))
        }
        registerActivityLifecycleCallbacks(Screens())
    }

    /** The phone is short of memory: an answer ends; where it is about to end apps, the model goes. */
    override fun onTrimMemory(level: Int) {
        super.onTrimMemory(level)
        if (level >= TRIM_MEMORY_COMPLETE || level == TRIM_MEMORY_RUNNING_CRITICAL) {
            chat.unload(Problem(ProblemKind.MEMORY, "onTrimMemory $level"))
        } else if (level == TRIM_MEMORY_RUNNING_LOW) {
            chat.send(ChatEvent.StopAsked)
        }
    }

    private fun wording() =
        Wording(
            answerIn = { getString(R.string.prompt_answer_in, it) },
            translateTo = { language, text -> getString(R.string.prompt_translate, language, text) },
        )

    private val stopAnswer = Runnable { chat.send(ChatEvent.StopAsked) }
    private val unloadModel = Runnable { chat.unload() }

    private inner class Screens : ActivityLifecycleCallbacks by NoCallbacks {
        override fun onActivityStarted(activity: Activity) {
            visibleScreens++
            main.removeCallbacks(stopAnswer)
            main.removeCallbacks(unloadModel)
        }

        override fun onActivityStopped(activity: Activity) {
            if (--visibleScreens > 0) return
            main.postDelayed(stopAnswer, STOP_AFTER_MS)
            main.postDelayed(unloadModel, UNLOAD_AFTER_MS)
        }
    }

    private companion object {
        const val STOP_AFTER_MS = 60_000L
        const val UNLOAD_AFTER_MS = 600_000L
        const val STACK_BYTES = 4L * 1024 * 1024
    }
}

/** Callbacks that do nothing. */
private object NoCallbacks : Application.ActivityLifecycleCallbacks {
    override fun onActivityCreated(activity: Activity, state: android.os.Bundle?) = Unit

    override fun onActivityStarted(activity: Activity) = Unit

    override fun onActivityResumed(activity: Activity) = Unit

    override fun onActivityPaused(activity: Activity) = Unit

    override fun onActivityStopped(activity: Activity) = Unit

    override fun onActivitySaveInstanceState(activity: Activity, state: android.os.Bundle) = Unit

    override fun onActivityDestroyed(activity: Activity) = Unit
}
